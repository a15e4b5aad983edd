"""The real road behind the real server: a real clip, real weights, killed in the middle and resumed."""

import os
from pathlib import Path

import numpy as np
import pytest

from blender_addon.link import process
from blender_addon.link.client import Client
from blender_addon.link.pointsjob import PointsJob
from blender_addon.shared.frames import open_clip

from .helpers import DEADLINE_S, PYTHON, ROOT, run, wait_for

pytestmark = pytest.mark.slow

CLIP = ROOT / "tests" / "data" / "demo.mp4"
OPTIONS = {"localizer": "landmarks-lite", "max_people": 1, "chunk": 8, "device": "cpu"}


class Short:
    """The first frames of a clip."""

    def __init__(self, path: Path, count: int) -> None:
        self._clip, self._count = open_clip(path), count
        self.name, self.width, self.height = self._clip.name, self._clip.width, self._clip.height
        self.fps, self.frame_count, self.damage = self._clip.fps, count, None

    def frames(self, start=0):
        for frame in self._clip.frames(start):
            if frame.index >= self._count:
                return
            yield frame


def begin():
    backend = process.start(process.BackendCommand(Path(PYTHON), ROOT), device="cpu")
    wait_for(backend.poll_ready, "the backend")
    return backend, Client(backend.endpoint, alive=backend.alive)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_killed_and_resumed_is_the_same_as_never_killed(home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    backend, client = begin()
    job = client.open(Short(CLIP, 28), OPTIONS)
    wait_for(lambda: (client.pump(0.05), any(home.glob("jobs/*/chunk_00001.npz")))[1], "the second chunk")
    backend.child.kill()
    run(client, job)
    assert job.state == "failed" and f"resume job {job.id}" in job.error
    backend.stop()

    backend, client = begin()
    resumed = client.resume(job.id, lambda: Short(CLIP, 28))
    (after,) = [r for r in run(client, resumed) if r.final]
    assert resumed.state == "done" and resumed.frames_sent <= 28 - 16
    whole = client.open(Short(CLIP, 28), OPTIONS)
    (straight,) = [r for r in run(client, whole) if r.final]
    assert whole.state == "done" and whole.summary["people"] == 1
    np.testing.assert_array_equal(after.frames, np.arange(28))
    np.testing.assert_array_equal(after.frames, straight.frames)
    np.testing.assert_allclose(after.times, straight.times)
    # Nothing is forgotten between two chunks, not even where people were expected next.
    for name in ("pose", "trans", "betas", "joints"):
        np.testing.assert_array_equal(getattr(after, name), getattr(straight, name))

    # The body that came is the one that the results speak of.
    assert resumed.body.joint_names[0] == "pelvis" and resumed.body.parents[0] == -1
    assert after.betas.shape[0] == resumed.body.shapedirs.shape[2]
    assert after.expression.shape[1] == resumed.body.exprdirs.shape[2]
    # The camera that came with them puts the person into the picture.
    pelvis = after.joints[:, 0]
    u = pelvis[:, 0] / pelvis[:, 2] * after.camera.fx + after.camera.cx
    assert (pelvis[:, 2] > 0.5).all() and (u > 0).all() and (u < after.camera.width).all()

    again = client.resume(job.id, lambda: pytest.fail("no frames are needed"))
    (replayed,) = run(client, again)
    np.testing.assert_array_equal(replayed.pose, after.pose)
    client.close()
    backend.stop()


def test_a_wrong_body_file_and_a_wrong_option(home, tmp_path):
    backend, client = begin()
    (tmp_path / "SMPLX_NEUTRAL.npz").write_text("not a body")
    body = client.open(Short(CLIP, 3), {**OPTIONS, "body": str(tmp_path / "SMPLX_NEUTRAL.npz")})
    option = client.open(Short(CLIP, 3), {"colour": "red"})
    run(client, body, option)
    assert (body.state, body.error_code, option.error_code) == ("failed", "bad_body", "bad_options")
    for job in (body, option):
        assert job.error.endswith(".") and "\n" not in job.error
    client.close(stop=True)
    assert backend.child.wait(DEADLINE_S) == 0


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_points_added_later_are_the_same_however_often_the_job_was_killed(home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = {**OPTIONS, "localizer": "field", "chunk": 4}
    points = [{"name": "knee", "joint": "left_knee"}, {"name": "skin", "vertex": 4000}]
    backend, client = begin()
    job = client.open(Short(CLIP, 11), options)
    wait_for(lambda: (client.pump(0.05), any(home.glob("jobs/*/features_00001.npz")))[1], "the second chunk")
    backend.child.kill()
    run(client, job)
    backend.stop()

    backend, client = begin()
    resumed = client.resume(job.id, lambda: Short(CLIP, 11))
    (motion,) = [r for r in run(client, resumed) if r.final]
    whole = client.open(Short(CLIP, 11), options)
    run(client, whole)
    assert (resumed.state, whole.state) == ("done", "done")
    answers = []
    for one in (resumed, whole):
        assert len(list((home / "jobs" / one.id).glob("features_*.npz"))) == 3
        asked = PointsJob.ask(client, one.id, points, body="open")
        wait_for(lambda asked=asked: (client.pump(0.05), asked.finished)[1], "the points")
        assert asked.state == "done" and not asked.warnings, asked.error
        answers.append(asked.tracks[1])
    np.testing.assert_array_equal(answers[0].positions, answers[1].positions)
    np.testing.assert_array_equal(answers[0].uncertainty, answers[1].uncertainty)
    assert np.linalg.norm(answers[0].positions[:, 0] - motion.joints[:, 4], axis=-1).max() < 0.1
    # What was kept has been asked: without it the answer is the body's.
    for path in (home / "jobs" / whole.id).glob("features_*.npz"):
        path.unlink()
    bare = PointsJob.ask(client, whole.id, points, body="open")
    wait_for(lambda: (client.pump(0.05), bare.finished)[1], "the points")
    assert len(bare.warnings) == 1 and "import the clip once more" in bare.warnings[0]
    off = np.linalg.norm(bare.tracks[1].positions - answers[1].positions, axis=-1)
    assert 1e-4 < off.mean() < 0.05
    client.close()
    backend.stop()
