"""The whole road with a camera that turns and a cut: Blender's camera sees everybody where the job did."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.scene.markers import CUT, ours  # noqa: E402
from blender_addon.shared.frames import open_clip  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402

from .backends import DEMO, OPTIONS, environment  # noqa: E402
from .filmed import pixels  # noqa: E402
from .people import ROOT  # noqa: E402
from .seen import bone_heads, go_to  # noqa: E402
from .test_camera import pixels_by_blender  # noqa: E402

pytestmark = pytest.mark.slow

TURNED, BEHIND, STEP_PX = 20, 10, 2
"""Frames of the shot whose camera turns and of the one behind the cut; how far the picture moves in a frame."""
SIZE = (300, 640)
LANDMARKS = {"left_shoulder": 11, "right_shoulder": 12, "left_hip": 23, "right_hip": 24, "left_ankle": 27,
             "right_ankle": 28}  # fmt: skip
"""Joints that lie near one of the localizer's landmarks, and its number."""


def panned_clip(path: Path) -> Path:
    """A window that goes over one clip, then a still one over another."""
    sources = ((DEMO, TURNED, STEP_PX), (ROOT / "tests" / "data" / "two_people.mp4", BEHIND, 0))
    count = 0
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(30))
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for file, frames, step in sources:
            for frame in open_clip(file).frames(0):
                if frame.index >= frames:
                    break
                whole = av.VideoFrame.from_ndarray(frame.image, format="rgb24").reformat(360, 640)
                left = 10 + step * frame.index
                part = np.ascontiguousarray(whole.to_ndarray(format="rgb24")[:, left : left + SIZE[0]])
                picture = av.VideoFrame.from_ndarray(part, format="rgb24")
                picture.pts, count = count, count + 1
                out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """(the import, its job's folder): all tests look at one run."""
    folder = tmp_path_factory.mktemp("turned")
    told = environment(folder / "home") | {"OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    from blender_addon.work.backend import Backend

    backend = Backend()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    try:
        new = VideoImport(
            backend, panned_clip(folder / "turned.mp4"), OPTIONS | {"max_people": 2, "chunk": 8}
        )
        while not new.finished:
            new.pump(0.2)
    finally:
        backend.close()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    assert new.state == "done", new.error
    file = folder / "turned.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    return new, folder / "home" / "jobs" / new.job_id, file


@pytest.fixture(autouse=True)
def opened(film, empty_file):
    """As a user would see it who opens the file again."""
    blender_addon.register()
    bpy.ops.wm.open_mainfile(filepath=str(film[2]))
    yield
    blender_addon.unregister()


def armature_of(track: int) -> bpy.types.Object:
    return next(ob for ob in bpy.data.objects if ob.type == "ARMATURE" and ob["bodyfield_track"] == track)


def test_every_frame_shows_everybody_where_the_job_saw_them(film):
    new, folder, _ = film
    shots = new._job.shots
    assert [s.moving for _, s in sorted(shots.items())] == [True, False]
    assert [(m.name, m.frame) for m in ours(bpy.context.scene, new.job_id, CUT)] == [("Shot 2", TURNED + 1)]
    seen = {}
    for file in sorted(folder.glob("chunk_*.npz")):
        with np.load(file) as chunk:
            for track in chunk["track_ids"]:
                seen |= {
                    (int(track), int(frame)): places
                    for frame, places in zip(
                        chunk[f"{track}/frames"], chunk[f"{track}/points2d"], strict=True
                    )
                }
    names, off = list(new._job.body.joint_names), []
    for track, result in new.results.items():
        shot, armature = shots[int(result.shot[0])], armature_of(track)
        for i, frame in enumerate(result.frames):
            go_to(int(frame) + 1)
            got = pixels_by_blender(bpy.context.scene.camera, result.camera, bone_heads(armature))
            want = pixels(shot, int(frame - shot.frames[0]), result.joints[i].astype(float))
            assert np.abs(got - want).max() < 1.5, f"person {track} in frame {frame}"
            if (there := seen.get((int(result.source[i]), int(frame)))) is not None:
                off.append([got[names.index(n)] - there[k] for n, k in LANDMARKS.items()])
    assert len(off) >= TURNED + BEHIND
    # Joints are no landmarks, and bodies are tied in time; but they do not lie beside the person.
    assert np.abs(np.median(off, axis=(0, 1))).max() < 3 and np.median(np.linalg.norm(off, axis=2)) < 8


def test_the_world_stands_still_behind_a_camera_that_turns(film):
    new, _, _ = film
    camera, scene = bpy.context.scene.camera, bpy.context.scene
    places, turns = [], []
    for frame in range(1, TURNED + 1):
        go_to(frame)
        places.append(np.array(camera.matrix_world)[:3, 3])
        turns.append(np.array(camera.matrix_world)[:3, :3])
    assert np.ptp(places, axis=0).max() < 1e-5
    angle = np.degrees(np.arccos((np.trace(turns[0].T @ turns[-1]) - 1) / 2))
    told = np.degrees(np.arctan(STEP_PX * (TURNED - 1) / new._job.shots[1].lens[0, 0]))
    assert abs(angle - told) < 0.15 * told
    assert scene.frame_end == TURNED + BEHIND


def test_only_the_people_of_a_frames_shot_are_shown_over_its_picture(film):
    new, _, _ = film
    (background,) = bpy.context.scene.camera.data.background_images
    user = background.image_user
    assert (user.frame_start, user.frame_offset, user.frame_duration) == (1, 0, TURNED + BEHIND)
    for frame in (1, TURNED, TURNED + 1, TURNED + BEHIND):
        go_to(frame)
        shown = {t for t in new.results if not armature_of(t).hide_viewport}
        assert shown and {int(new.results[t].shot[0]) for t in shown} == {1 if frame <= TURNED else 2}
