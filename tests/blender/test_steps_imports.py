"""Imports, tracked points and correctives go into the scene in small steps, over a real socket."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from blender_addon.points.canonical import Place  # noqa: E402
from blender_addon.scene import keys, tracked  # noqa: E402
from blender_addon.scene.bodykeys import POSE, add_correctives, keys_of, persons_mesh  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.work.body_keys import BodyKeys  # noqa: E402
from blender_addon.work.point_tracking import PointTracking  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402

from .people import motion, open_body  # noqa: E402
from .replay import Replay  # noqa: E402
from .seen import curves_of  # noqa: E402
from .test_steps import clip_of  # noqa: E402

PATIENCE_S = 120


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """As if the clip were long: a step for every few curves."""
    monkeypatch.setattr(keys, "PIECE", 100)
    monkeypatch.setattr(tracked, "PIECE", 2000)


@pytest.fixture
def replay():
    backend = Replay(40, chunk=16)
    yield backend
    backend.close()


def pumped(work, meanwhile=lambda: None) -> int:
    """Pump with no time at all, so that each pump is one step. -> how many."""
    count, end = 0, time.monotonic() + PATIENCE_S
    while not work.finished:
        work.pump(0.0)
        meanwhile()
        count += 1
        assert time.monotonic() < end, "no end in sight"
    return count


def imported(replay: Replay) -> VideoImport:
    new = VideoImport(replay, None, {}, job_id="replay", scene=bpy.context.scene.name)
    pumped(new)
    assert new.state == "done", new.error
    return new


@pytest.mark.slow
def test_an_import_goes_step_by_step(replay):
    new = VideoImport(replay, None, {}, job_id="replay", scene=bpy.context.scene.name)
    assert pumped(new) > 100 and new.state == "done"
    curves = curves_of(new.clip.armature(1))
    assert len(curves) == 289 and {len(c.keyframe_points) for c in curves} == {40}


@pytest.mark.slow
def test_cancel_between_steps_leaves_a_person_whose_bones_agree():
    replay = Replay(40, chunk=8, pause_s=1.5)
    try:
        new = VideoImport(replay, None, {}, job_id="replay", scene=bpy.context.scene.name)
        lengths = set()
        while len(lengths) < 2:
            new.pump(0.0)
            assert not new.finished
            armature = new.clip.armature(1) if new.clip else None
            lengths = {len(c.keyframe_points) for c in curves_of(armature)} if armature else set()
        new.cancel()
        assert new.state == "cancelled" and new._steps is None
        assert {len(c.keyframe_points) for c in curves_of(new.clip.armature(1))} == {max(lengths)}
        assert len(bpy.data.armatures) == 1
    finally:
        replay.close()


@pytest.mark.slow
def test_points_come_step_by_step_and_survive_an_undo(replay):
    imported(replay)
    places = {i + 1: Place(f"p{i}", face=i, barycentric=(1.0, 0.0, 0.0)) for i in range(12)}
    bpy.ops.ed.undo_push(message="imported")
    work = PointTracking(replay, "replay", "clip", places, "open")
    undone = []

    def undo() -> None:
        if work._steps is not None and not undone and len(bpy.data.objects) > 8:
            bpy.ops.ed.undo_push(message="by the user")
            bpy.ops.ed.undo()
            undone.append(1)

    assert pumped(work, undo) > 5 and work.state == "done" and undone
    (armature,) = (ob for ob in bpy.context.scene.objects if ob.type == "ARMATURE")
    empties = tracked.tracked(armature)
    assert len(empties) == 12 == len(work.empties)
    assert {len(c.keyframe_points) for ob in empties for c in curves_of(ob)} == {40}


@pytest.mark.slow
def test_points_of_a_clip_that_is_deleted_meanwhile_end_with_a_sentence(replay):
    imported(replay)
    places = {i + 1: Place(f"p{i}", face=i, barycentric=(1.0, 0.0, 0.0)) for i in range(12)}
    work = PointTracking(replay, "replay", "clip", places, "open")

    def delete() -> None:
        if work._steps is not None and len(bpy.data.objects) > 8:
            for ob in list(bpy.data.objects):
                bpy.data.objects.remove(ob)

    pumped(work, delete)
    assert work.state == "failed" and "deleted" in work.error


def test_correctives_survive_an_undo_between_steps():
    clip = clip_of(motion(3))
    clip.refresh(force=True)
    bpy.ops.ed.undo_push(message="person")
    body = replace(open_body(), posedirs=open_body().posedirs[:45])
    work = BodyKeys(None, clip.armature(1), "body", body)
    undone = []
    while not work.finished:
        work.pump(1e-4)
        if work.made > 5 and not undone:
            undone.append(bpy.ops.ed.undo_push(message="some"))
            bpy.ops.ed.undo()
            assert not keys_of(persons_mesh(clip.armature(1)), POSE)
    mesh = next(ob for ob in clip.armature(1).children if ob.type == "MESH")
    names = [block.name for block in keys_of(mesh, POSE)]
    assert undone and work.state == "done"
    for block in keys_of(mesh, POSE):
        mesh.shape_key_remove(block)
    list(add_correctives(lambda: mesh, body, "body"))
    assert sorted(names) == [block.name for block in keys_of(mesh, POSE)] and len(names) > 10


def test_the_file_needs_no_footage_to_be_decoded(tmp_path):
    """Asking Blender for the size or the length of a movie takes as long as decoding a picture."""
    from .backends import DEMO

    clip = ClipScene(Footage("demo", Path(DEMO), 1080, 1920, 60.0, length=100, turned=False), "job-1")
    clip.set_body(open_body())
    clip.add([motion(5)])
    clip.refresh(force=True)
    (background,) = bpy.context.scene.camera.data.background_images
    assert background.image_user.frame_duration == 100 and not background.image.has_data
