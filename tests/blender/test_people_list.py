"""The list of people and its corrections: what is asked of the backend, what is in the scene then, undo."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.link import jobstore  # noqa: E402
from blender_addon.ops import people_edits  # noqa: E402
from blender_addon.scene import listing  # noqa: E402
from blender_addon.scene.clip_keys import TRACK_KEY  # noqa: E402
from blender_addon.scene.edits import edits_of  # noqa: E402
from blender_addon.scene.markers import DOUBT, ours  # noqa: E402
from blender_addon.scene.person import chosen_person, find_collection  # noqa: E402
from blender_addon.ui import people as panel  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.motion_update import MotionUpdate  # noqa: E402

from .cast import Cast, corrected, rows, stored  # noqa: E402
from .filmed import shot  # noqa: E402
from .people import motion  # noqa: E402
from .seen import bone_heads, curves_of, go_to, names_of_everything  # noqa: E402
from .standing import built, curve_of  # noqa: E402

N = 20


@pytest.fixture
def cast(monkeypatch):
    """Three people, 1 and 2 all the time, 3 in the second half; 2 is doubtful twice."""
    blender_addon.register()
    doubtful = np.zeros(N, np.uint8)
    doubtful[[4, 5, 12]] = 1
    whole = shot(0, N, floor=1.3)
    people = [
        motion(N),
        replace(motion(N, track=2, seed=4), doubtful=doubtful),
        rows(motion(N, track=3, seed=7), np.arange(N) >= 10),
    ]
    people = [replace(p, up=whole.up, floor=whole.floor) for p in people]
    cast = Cast(people, {1: whole})
    monkeypatch.setattr(running, "backend", cast)
    monkeypatch.setattr(jobstore, "stored_job", lambda job: stored(job))
    cast.clip = built(*people)
    cast.clip.set_shots(cast.shots)
    cast.clip.refresh(force=True)
    cast.clip.mark_done()
    listing.mark_doubt(bpy.context.scene)
    choose(cast, 1)
    yield cast
    running.imports.clear()
    blender_addon.unregister()


def choose(cast, track: int) -> bpy.types.Object:
    armature = cast.clip.armature(track)
    bpy.context.view_layer.objects.active = armature
    return armature


def collection() -> bpy.types.Collection:
    return find_collection("job-1")


def tracks() -> list[int]:
    return [ob[TRACK_KEY] for ob in listing.people_in(collection())]


def assert_shows(cast, edits: list[dict]) -> None:
    """The scene holds what these corrections give, and the file has them."""
    expected = corrected(cast.people, edits)
    assert edits_of(collection()) == edits and tracks() == [p.track for p in expected]
    for person in expected:
        keys = curve_of(cast.clip.armature(person.track), 'pose.bones["left_elbow"].rotation_quaternion')
        np.testing.assert_array_equal([k.co[0] for k in keys.keyframe_points], person.frames + 1)
        row = len(person.frames) // 2
        go_to(person.frames[row] + 1)
        heads = bone_heads(cast.clip.armature(person.track))
        apart = np.linalg.norm(heads - heads[0], axis=1)
        joints = person.joints[row].astype(float)
        assert np.abs(apart - np.linalg.norm(joints - joints[0], axis=1)).max() < 2e-3


def test_a_split_is_at_the_current_frame_and_makes_somebody_new(cast):
    bpy.context.scene.frame_set(9)
    assert bpy.ops.bodyfield.split_person() == {"FINISHED"}
    edits = [{"op": "split", "track": 1, "frame": 8}]
    assert cast.asked == [{"edits": edits}]
    assert_shows(cast, edits)
    assert bpy.context.view_layer.objects.active == cast.clip.armature(1)
    bpy.context.scene.frame_set(9)
    # He is not there any more from here on.
    with pytest.raises(RuntimeError, match="not seen before and after this frame"):
        bpy.ops.bodyfield.split_person()


def test_a_merge_gives_both_spans_to_one_and_keeps_the_users_keys(cast):
    bpy.context.scene.frame_set(11)
    bpy.ops.bodyfield.split_person()
    armature = cast.clip.armature(1)
    path = 'pose.bones["left_elbow"].rotation_quaternion'
    curve_of(armature, path).keyframe_points[3].co[1] = 0.25
    new = choose(cast, 4)
    before = len(names_of_everything())
    assert bpy.ops.bodyfield.merge_people(other="1") == {"FINISHED"}
    edits = [{"op": "split", "track": 1, "frame": 10}, {"op": "merge", "tracks": [1, 4]}]
    assert cast.asked[-1] == {"edits": edits}
    assert tracks() == [1, 2, 3] and curve_of(armature, path).keyframe_points[3].co[1] == 0.25
    # Armature, body, their data, two actions.
    assert len(names_of_everything()) == before - 6
    with pytest.raises(ReferenceError):
        new.name  # noqa: B018
    assert bpy.context.view_layer.objects.active == armature


def test_a_swap_changes_places_from_here_on(cast):
    bpy.context.scene.frame_set(7)
    assert bpy.ops.bodyfield.swap_people(other="2") == {"FINISHED"}
    assert_shows(cast, [{"op": "swap", "tracks": [1, 2], "frame": 6}])
    # And back: the whole list is sent each time.
    bpy.context.scene.frame_set(7)
    bpy.ops.bodyfield.swap_people(other="2")
    assert len(cast.asked[-1]["edits"]) == 2
    go_to(15)
    now = bone_heads(cast.clip.armature(1))
    bpy.ops.bodyfield.reset_corrections()
    go_to(15)
    assert np.abs(bone_heads(cast.clip.armature(1)) - now).max() < 1e-5
    assert_shows(cast, [])


def test_who_is_excluded_is_hidden_with_all_keys_and_comes_back(cast):
    armature = cast.clip.armature(3)
    curve = curve_of(armature, 'pose.bones["left_elbow"].rotation_quaternion')
    curve.keyframe_points[2].co[1] = 0.5
    assert bpy.ops.bodyfield.exclude_person(track=3, out=True) == {"FINISHED"}
    edits = [{"op": "exclude", "track": 3}]
    assert cast.asked == [{"edits": edits}]
    assert_shows(cast, edits)
    assert (
        listing.is_excluded(armature)
        and not armature.visible_get()
        and not armature.children[0].visible_get()
    )
    assert [ob[TRACK_KEY] for ob in listing.people_in(collection(), left_out=True)] == [1, 2, 3]
    assert bpy.ops.bodyfield.exclude_person(track=3, out=False) == {"FINISHED"}
    assert edits_of(collection()) == [] and tracks() == [1, 2, 3] and not collection().children
    assert cast.clip.armature(3) == armature and curve.keyframe_points[2].co[1] == 0.5
    for track in (1, 2):
        bpy.ops.bodyfield.exclude_person(track=track)
    with pytest.raises(RuntimeError, match="Somebody must be left"):
        bpy.ops.bodyfield.exclude_person(track=3)


def test_names_are_the_objects_and_go_along_with_the_next_correction(cast):
    armature = choose(cast, 2)
    body = armature.children[0]
    armature.bodyfield_person.label = "Anna"
    assert (armature.name, armature.data.name, body.name) == ("Anna", "Anna", "Anna body")
    assert [m.name for m in ours(bpy.context.scene, "job-1", DOUBT)] == ["Anna doubtful"] * 2
    assert cast.asked == [] and armature.bodyfield_person.label == "Anna"
    bpy.context.scene.frame_set(9)
    bpy.ops.bodyfield.split_person()
    name = {"op": "rename", "track": 2, "name": "Anna"}
    assert cast.asked[-1]["edits"][0] == name and armature.name == "Anna"
    armature.bodyfield_person.label = ""
    assert armature.name == "walk person 2" and armature.bodyfield_person.label == "Person 2"
    armature.name = "mine"
    assert bpy.ops.bodyfield.reset_corrections() == {"FINISHED"}
    assert armature.name == "mine" and armature.bodyfield_person.label == "mine"


def test_a_file_without_corrections_takes_those_of_the_job(cast, monkeypatch):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    edits = [{"op": "rename", "track": 1, "name": "Ben"}, {"op": "exclude", "track": 2}]
    monkeypatch.setattr("blender_addon.work.video_import.stored_job", lambda job: stored(job, edits=edits))
    cast.people = corrected(cast.people, edits)
    from blender_addon.work.video_import import VideoImport

    running.start(VideoImport(cast, None, {}, job_id="job-1", scene=bpy.context.scene.name))
    while running.tick(0.5):
        pass
    assert running.imports[-1].state == "done", running.imports[-1].error
    assert edits_of(collection()) == edits and cast.clip.armature(1).name == "Ben"
    seen: list[str] = []
    layout = SimpleNamespace(
        row=lambda: layout, label=lambda text: seen.append(text), operator=SimpleNamespace
    )
    layout.operator = lambda *_, **__: SimpleNamespace()
    panel._draw_missing(layout, collection())
    assert seen == ["Person 2 was left out"]


def test_nothing_changes_when_the_backend_refuses(cast):
    before = {ob.name: len(curves_of(ob)) for ob in bpy.data.objects if ob.type == "ARMATURE"}
    cast.refuses = "There is no track 3."
    for call in (
        lambda: bpy.ops.bodyfield.exclude_person(track=3),
        lambda: bpy.ops.bodyfield.merge_people(other="2"),
    ):
        with pytest.raises(RuntimeError, match="There is no track 3"):
            call()
    assert edits_of(collection()) == [] and tracks() == [1, 2, 3]
    assert before == {ob.name: len(curves_of(ob)) for ob in bpy.data.objects if ob.type == "ARMATURE"}
    assert cast.clip.armature(3).visible_get() or cast.clip.armature(3).hide_viewport


def test_a_correction_is_one_undo_step(cast):
    bpy.ops.ed.undo_push(message="before")
    bpy.context.scene.frame_set(9)
    bpy.ops.bodyfield.split_person()
    bpy.ops.bodyfield.exclude_person(track=3)
    bpy.ops.ed.undo_push(message="after")
    assert tracks() == [1, 2, 4]
    bpy.ops.ed.undo()
    assert tracks() == [1, 2, 3] and edits_of(collection()) == []
    # The job still has them; the next update says that there are none.
    job = stored(edits=[{"op": "exclude", "track": 3}])
    new = MotionUpdate(cast, job, {"floor": True}, scene=bpy.context.scene.name)
    assert new._changes == {"floor": True, "edits": []}


def test_who_is_lost_without_a_warning_stays_with_keys_of_the_users_own(cast):
    curve_of(cast.clip.armature(3), 'pose.bones["left_elbow"].rotation_quaternion').keyframe_points[2].co[
        1
    ] = 0.5
    cast.people = cast.people[:1]
    new = MotionUpdate(cast, stored(), {"shots": False}, scene=bpy.context.scene.name)
    running.start(new)
    while running.tick(0.5):
        pass
    assert tracks() == [1, 3]
    assert any("walk person 3 is not in the new motion" in text for text in new.warnings)


def test_somebody_in_another_shot_is_linked_and_has_the_colour(cast):
    first, second = shot(0, 10), shot(10, 10, number=2)
    cast.shots = {1: first, 2: second}
    cast.people = [
        rows(motion(N), np.arange(N) < 10),
        replace(rows(motion(N, track=2, seed=4), np.arange(N) >= 10), shot=np.int32([2])),
        replace(rows(motion(N, track=3, seed=7), np.arange(N) >= 10), shot=np.int32([2])),
    ]
    new = MotionUpdate(cast, stored(), {}, scene=bpy.context.scene.name)
    running.start(new)
    while running.tick(0.5):
        pass
    choose(cast, 3)
    with pytest.raises(TypeError, match="not found"):
        bpy.ops.bodyfield.same_person(other="2")
    with pytest.raises(TypeError, match="not found"):
        bpy.ops.bodyfield.merge_people(other="1")
    assert bpy.ops.bodyfield.same_person(other="1") == {"FINISHED"}
    assert edits_of(collection()) == [{"op": "same", "tracks": [1, 3]}]
    one, three = cast.clip.armature(1), cast.clip.armature(3)
    assert tuple(one.color) == tuple(three.color) != tuple(cast.clip.armature(2).color)
    assert panel.summary(three) == "= person 1  0.3 s" and three.bodyfield_person.label == "Person 3 (shot 2)"
    assert panel.described(three) == "Person 3 (shot 2): Shot 2, 10 frames"


def test_doubtful_frames_are_marked_and_gone_to(cast):
    scene = bpy.context.scene
    scene.timeline_markers.new("Person 2 doubtful", frame=2)
    found = [(m.name, m.frame) for m in ours(scene, "job-1", DOUBT)]
    assert found == [("Person 2 doubtful", 5), ("Person 2 doubtful", 13)]
    scene.frame_set(1)
    assert [bpy.ops.bodyfield.next_doubtful() and scene.frame_current for _ in range(3)] == [5, 13, 5]
    assert bpy.context.view_layer.objects.active == cast.clip.armature(2)
    scene.bodyfield_people.doubt_markers = False
    assert [(m.name, m.frame) for m in scene.timeline_markers] == [("Person 2 doubtful", 2)]
    assert panel.described(cast.clip.armature(2)) == "Person 2: 20 frames, 3 doubtful"


def test_the_list_shows_people_in_order_and_selects(cast):
    clip, settings = collection(), bpy.context.scene.bodyfield_people
    shown, order = panel.BODYFIELD_UL_people.filter_items(
        SimpleNamespace(bitflag_filter_item=1), bpy.context, clip, "all_objects"
    )
    people = [ob for ob, on in zip(clip.all_objects, shown, strict=True) if on]
    assert sorted(ob[TRACK_KEY] for ob in people) == [1, 2, 3] and sorted(order) == list(range(len(order)))
    index = next(i for i, ob in enumerate(clip.all_objects) if ob == cast.clip.armature(2))
    settings.active = index
    assert bpy.context.view_layer.objects.active == cast.clip.armature(2) and settings.active == index
    bpy.context.view_layer.objects.active = cast.clip.armature(3).children[0]
    assert clip.all_objects[settings.active] == cast.clip.armature(3)


def test_who_is_hidden_in_this_frame_can_be_selected_and_corrected(cast):
    """Else a split would take its own person out of the list, and nobody of another shot could be chosen."""
    clip, settings, third = collection(), bpy.context.scene.bodyfield_people, cast.clip.armature(3)
    bpy.context.scene.frame_set(5)
    bpy.context.view_layer.update()
    assert third.hide_viewport and not third.visible_get()
    settings.active = list(clip.all_objects).index(third)
    assert clip.all_objects[settings.active] == third
    # In a window the context has no active object while that one is hidden; without one it has.
    window = SimpleNamespace(active_object=None, view_layer=bpy.context.view_layer, scene=bpy.context.scene)
    assert listing.active_person(window) == third == chosen_person(window)
    assert people_edits.NeedsOne.poll.__func__(people_edits.BODYFIELD_OT_split_person, window)


def test_a_name_given_while_a_correction_is_written_stays(cast):
    """The last steps take seconds in a long clip, and the list is free meanwhile."""
    new = MotionUpdate(
        cast, stored(), {}, scene=bpy.context.scene.name, edits=[{"op": "exclude", "track": 3}]
    )
    running.start(new)
    for _ in range(4):
        running.tick(0.0)
    assert new._last and not new.finished
    cast.clip.armature(2).bodyfield_person.label = "Berta"
    while running.tick(0.5):
        pass
    assert cast.clip.armature(2).name == "Berta"
    assert edits_of(collection()) == [
        {"op": "exclude", "track": 3}, {"op": "rename", "track": 2, "name": "Berta"}
    ]  # fmt: skip


def test_what_would_change_nothing_or_mix_two_is_said_before(cast):
    bpy.context.scene.frame_set(40)
    with pytest.raises(RuntimeError, match="Neither of the two is seen from this frame on"):
        bpy.ops.bodyfield.swap_people(other="2")
    assert cast.asked == []
    first, third = cast.clip.armature(1), cast.clip.armature(3)
    assert people_edits.merge_losses(third, None) == []
    assert people_edits.merge_losses(third, first) == [
        "Both are seen in 10 frames: the surer one counts there."
    ]
    bpy.context.scene.frame_set(11)
    bpy.ops.bodyfield.split_person()
    assert people_edits.merge_losses(cast.clip.armature(4), first) == []
