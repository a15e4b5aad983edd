"""The scene is built in small steps: with the same result as at once, whatever happens between two of them."""

import json
from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from blender_addon.scene import keys, person, tracked  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.scene.steps import MARK_KEY  # noqa: E402

from .people import motion, open_body  # noqa: E402
from .seen import curves_of, names_of_everything  # noqa: E402

FOOTAGE = Footage("walk", None, 640, 360, 30.0)
CURVES = 223 + 56 + 9 + 1
"""Of a person: bones, uncertainty, contacts, doubt."""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """As if the clip were long: a step for every few curves."""
    monkeypatch.setattr(keys, "PIECE", 100)
    monkeypatch.setattr(tracked, "PIECE", 2000)


def clip_of(*results, **more) -> ClipScene:
    clip = ClipScene(FOOTAGE, "job-1", **more)
    clip.set_body(open_body())
    clip.add(results)
    return clip


def two() -> list:
    return [motion(20, expression=0.5), motion(15, track=2, seed=4)]


def all_there_is(job: str = "job-1") -> dict:
    """Everything of a clip that its building writes, as plain numbers."""
    out = {}
    for ob in person.objects_of(job):
        if ob.type != "CAMERA":
            owners = [ob] + ([ob.data.shape_keys] if ob.type == "MESH" and ob.data.shape_keys else [])
            for owner in owners:
                if owner.animation_data:
                    for curve in curves_of(owner):
                        co = np.empty(2 * len(curve.keyframe_points), np.float32)
                        curve.keyframe_points.foreach_get("co", co)
                        out[ob.name, owner.id_type, curve.data_path, curve.array_index] = co.tolist()
            # The mark is new each time; what is animated is whatever the current frame gives.
            properties = {k: v for k, v in ob.items() if k != MARK_KEY and "uncertainty" not in k}
            out[ob.name, "properties"] = json.dumps(properties, default=list)
        if ob.type == "MESH":
            out[ob.name, "weights"] = [[(g.group, g.weight) for g in v.groups] for v in ob.data.vertices]
            out[ob.name, "modifier"] = ob.modifiers[0].object.name
        out[ob.name, "place"] = [list(row) for row in ob.matrix_basis]
        out[ob.name, "parent"] = ob.parent and ob.parent.name
    return out


def walk(clip: ClipScene, meanwhile, every: int = 7, force: bool = True) -> int:
    """Take the steps; every few of them `meanwhile()`. -> how many there were."""
    count = 0
    for _ in clip.steps(force):
        count += 1
        assert count < 5000, "the steps never end"
        if count % every == 0:
            meanwhile()
    return count


@pytest.mark.slow
def test_steps_make_what_is_made_at_once():
    clip_of(*two()).refresh(force=True)
    at_once, names = all_there_is(), names_of_everything()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    walk(clip_of(*two()), lambda: bpy.context.view_layer.update())
    assert all_there_is() == at_once and names_of_everything() == names
    assert len(at_once) > 2 * 278


@pytest.mark.slow
@pytest.mark.parametrize("root_bone", [False, True])
def test_a_final_result_in_steps_is_the_same_as_at_once(root_bone):
    final = [motion(20, seed=8), motion(15, track=2, seed=9)]
    seen = []
    for way in (lambda c: c.refresh(force=True), lambda c: walk(c, bpy.context.view_layer.update)):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        clip = clip_of(*(replace(r, final=False) for r in two()), root_bone=root_bone)
        clip.refresh(force=True)
        clip.add(final)
        way(clip)
        seen.append(all_there_is())
    assert seen[0] == seen[1]


def test_no_step_holds_more_than_a_piece_and_a_long_clip_has_more_of_them(monkeypatch):
    counts = []
    for frames in (20, 200):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        written, fill = [0], keys._fill

        def counted(curve, at, *more, written=written, fill=fill):
            written[-1] += len(at)
            fill(curve, at, *more)

        monkeypatch.setattr(keys, "_fill", counted)
        steps = walk(clip_of(motion(frames)), lambda w=written: w.append(0), every=1)
        monkeypatch.setattr(keys, "_fill", fill)
        # A step ends with the curve that fills the piece.
        assert max(written) <= keys.PIECE + frames and sum(written) == frames * CURVES
        counts.append(steps)
    assert counts[0] > 50 and counts[1] > 4 * counts[0]


def test_nobody_is_seen_before_they_are_whole():
    clip = clip_of(*two())
    for _ in clip.steps(True):
        for ob in bpy.context.scene.objects:
            if ob.type == "ARMATURE":
                # Who is gone before the clip ends is hidden then.
                hides = 2 * (ob["bodyfield_track"] == 2)
                assert len(curves_of(ob)) == CURVES + hides and ob.children[0].modifiers


@pytest.mark.slow
def test_an_undo_between_steps_loses_nothing():
    clip_of(*two()).refresh(force=True)
    at_once = all_there_is()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    undone = []

    def undo() -> None:
        if len(undone) < 6:
            bpy.ops.ed.undo_push(message="by the user")
            bpy.context.scene.cursor.location.x += 1
            bpy.ops.ed.undo_push(message="by the user")
            for _ in range(1 + len(undone) % 3):
                if bpy.ops.ed.undo.poll():
                    bpy.ops.ed.undo()
            undone.append(1)

    bpy.ops.ed.undo_push(message="empty")
    walk(clip_of(*two()), undo, every=23)
    assert len(undone) == 6 and all_there_is() == at_once


def test_an_undo_that_brings_back_older_keys_is_noticed():
    """The person is still there, so that only its mark tells."""
    clip = clip_of(motion(20, final=False))
    clip.refresh(force=True)
    bpy.ops.ed.undo_push(message="chunk")
    clip.add([motion(20, seed=8)])
    steps = clip.steps(True)
    for _ in range(20):
        next(steps)
    bpy.ops.ed.undo_push(message="half")
    bpy.context.scene.cursor.location.x += 1
    bpy.ops.ed.undo_push(message="more")
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    for _ in steps:
        pass
    got = all_there_is()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    again = clip_of(motion(20, final=False))
    again.refresh(force=True)
    again.add([motion(20, seed=8)])
    again.refresh(force=True)
    assert got == all_there_is()


@pytest.mark.slow
def test_loading_another_file_between_steps_loses_nothing(tmp_path):
    clip_of(*two()).refresh(force=True)
    at_once = all_there_is()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    loads = []

    def load() -> None:
        if len(loads) < 3:
            loads.append(1)
            bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"), copy=True)
            if len(loads) == 2:
                bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
            else:
                bpy.ops.wm.read_factory_settings(use_empty=True)

    walk(clip_of(*two()), load, every=60)
    assert len(loads) == 3 and all_there_is() == at_once


@pytest.mark.slow
@pytest.mark.parametrize("what", ["armature", "action", "collection", "everything"])
def test_deleting_between_steps_loses_nothing(what):
    first = [replace(r, final=False) for r in two()]
    clip = clip_of(*first)
    clip.refresh(force=True)
    clip.add(two())
    gone = []

    def delete() -> None:
        if gone:
            return
        gone.append(1)
        armature = clip.armature(1)
        if what == "armature":
            bpy.data.objects.remove(armature)
        elif what == "action":
            bpy.data.actions.remove(armature.animation_data.action)
        elif what == "collection":
            bpy.data.collections.remove(person.find_collection("job-1"))
        else:
            for ob in list(bpy.data.objects):
                bpy.data.objects.remove(ob)

    walk(clip, delete, every=30)
    assert gone and [len(curves_of(clip.armature(t))) for t in (1, 2)] == [CURVES, CURVES + 2]
    for track, result in enumerate(two(), 1):
        curves = [c for c in curves_of(clip.armature(track)) if not c.data_path.startswith("hide_")]
        lengths = {len(curve.keyframe_points) for curve in curves}
        assert lengths == {len(result.frames)}
        assert any(child.type == "MESH" for child in clip.armature(track).children) or what == "everything"


def test_leaving_off_between_steps_leaves_no_half_person():
    before = names_of_everything()
    clip = clip_of(*two())
    steps = clip.steps(True)
    for _ in range(30):
        next(steps)
    steps.close()
    assert [ob for ob in bpy.data.objects if ob.type != "CAMERA"] == []
    assert [one for one in names_of_everything() if one[0] != "collections"] == before
    clip.refresh(force=True)
    assert len(curves_of(clip.armature(1))) == CURVES


@pytest.mark.slow
def test_steps_that_are_dropped_before_their_end_leave_the_rest_to_the_next():
    """At the end of a job, when the final results are keyed but the camera stands where it stood before."""

    def final_after_a_first_look(dropped_at: int | None) -> int:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        clip = clip_of(motion(20, final=False))
        clip.refresh(force=True)
        level = np.array([0.3, -0.9, 0.1], np.float32)
        clip.add([replace(motion(20, seed=8), up=level / np.linalg.norm(level))])
        if dropped_at is not None:
            steps = clip.steps(True)
            for _ in range(dropped_at):
                next(steps)
            steps.close()
        return walk(clip, lambda: None)

    count = final_after_a_first_look(None)
    wanted = all_there_is()
    for last in range(3):
        final_after_a_first_look(count - last)
        assert all_there_is() == wanted, last


def test_the_users_keys_survive_steps():
    clip = clip_of(motion(20, final=False))
    clip.refresh(force=True)
    bpy.context.view_layer.update()
    bone = clip.armature(1).pose.bones["head"]
    bone.rotation_quaternion = (0.5, 0.5, 0.5, 0.5)
    bone.keyframe_insert("rotation_quaternion", frame=5)
    clip.add([motion(20, seed=8)])
    walk(clip, lambda: bpy.ops.ed.undo_push(message="by the user"), every=40)
    head = [c for c in curves_of(clip.armature(1)) if '"head"' in c.data_path]
    assert [abs(c.keyframe_points[4].co[1]) for c in head] == [0.5] * 4 and clip.users_keys() == 4


def test_results_that_come_between_steps_are_written_next():
    clip = clip_of(motion(20, final=False))
    walk(clip, lambda: clip.add([motion(30)]) if not clip._people[1].final else None, every=40)
    assert {len(c.keyframe_points) for c in curves_of(clip.armature(1))} == {20}
    walk(clip, lambda: None)
    assert {len(c.keyframe_points) for c in curves_of(clip.armature(1))} == {30}
