"""Points that are asked for after a job is done: the real backend answers them from what the job has kept."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the expected places are computed with torch")

from backend.body.kinematics import forward
from backend.body.load import load_body
from backend.jobs.folder import DONE, JobStore
from backend.recall.track import carried_uncertainty, point_set, track_points
from backend.records import TrackMotion
from blender_addon.link import process
from blender_addon.link.client import Client
from blender_addon.link.pointsjob import PointsJob

from .helpers import PYTHON, ROOT, wait_for

pytestmark = pytest.mark.slow

COUNT = 40
OPTIONS = {"localizer": "landmarks-lite", "max_people": 2, "device": "cpu"}
ENTRIES = [
    {"name": "corner", "vertex": 4000},
    {"name": "skin", "face": 9000, "barycentric": [0.2, 0.3, 0.5]},
    {"name": "deep", "face": 9000, "barycentric": [0.2, 0.3, 0.5], "depth": 0.02},
    {"name": "elbow", "joint": "left_elbow"},
    {"name": "tip", "landmark": "nose"},
]


def motion(track: int, seed: int = 0) -> TrackMotion:
    rng = np.random.default_rng(seed)
    body = load_body(None)
    pose = rng.normal(0, 0.3, (COUNT, 55, 3)).astype(np.float32)
    trans = rng.normal(0, 0.2, (COUNT, 3)).astype(np.float32) + np.float32([0, 0, 4])
    betas = rng.normal(0, 1, body.n_betas).astype(np.float32)
    joints = forward(body.to(), *_tensors(pose, betas, trans)).joints.numpy()
    frames = np.arange(5, 5 + COUNT, dtype=np.int32)
    unsure = rng.uniform(0.01, 0.1, (COUNT, 55)).astype(np.float32)
    expression = np.zeros((COUNT, body.n_expressions), np.float32)
    boxes = np.zeros((COUNT, 4), np.float32)
    return TrackMotion(
        track, frames, frames / 30, boxes, pose, trans, betas, expression, joints, unsure, True
    )


def _tensors(*arrays):
    import torch

    return [torch.from_numpy(a) for a in arrays]


def finished_job(home: Path, *motions: TrackMotion) -> str:
    clip = {"name": "walk", "width": 64, "height": 48, "fps": 30.0, "frame_count": None}
    folder = JobStore(home).create(OPTIONS, clip)
    for one in motions:
        folder.save_final(one)
    folder.update(state=DONE, frames=COUNT + 5, summary={})
    return folder.record.id


@pytest.fixture
def client(home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    backend = process.start(process.BackendCommand(Path(PYTHON), ROOT), device="cpu")
    wait_for(backend.poll_ready, "the backend")
    with_backend = Client(backend.endpoint, alive=backend.alive)
    yield with_backend
    with_backend.close()
    backend.stop()


def ended(client, job: PointsJob) -> PointsJob:
    wait_for(lambda: (client.pump(0.05), job.finished)[1], "the points")
    return job


def test_points_of_a_finished_job_lie_on_the_fitted_bodies(home, client):
    one, two = motion(1), motion(3, seed=7)
    job = ended(client, PointsJob.ask(client, finished_job(home, one, two), ENTRIES, body="open"))
    assert job.state == "done", job.error
    assert sorted(job.tracks) == [1, 3]
    body = load_body(None)
    for made in (one, two):
        found = job.tracks[made.track]
        posed = forward(body.to(), *_tensors(made.pose, made.betas, made.trans), vertices=True)
        vertices = posed.vertices.numpy()
        np.testing.assert_array_equal(found.frames, made.frames)
        np.testing.assert_allclose(found.positions[:, 0], vertices[:, 4000], atol=1e-5)
        # Skinning is not linear in the places, so a place within a triangle is not quite that of its corners.
        corners = vertices[:, body.faces[9000]]
        np.testing.assert_allclose(found.positions[:, 1], np.float32([0.2, 0.3, 0.5]) @ corners, atol=2e-3)
        under = np.linalg.norm(found.positions[:, 2] - found.positions[:, 1], axis=-1)
        assert np.all((under > 0.01) & (under < 0.04))
        np.testing.assert_allclose(found.positions[:, 3], made.joints[:, 18], atol=1e-5)
        np.testing.assert_allclose(found.uncertainty[:, 3], made.joint_uncertainty[:, 18], rtol=1e-5)
    # The same backend answers again, another set, and refuses what it cannot answer.
    again = ended(client, PointsJob.ask(client, job.id, ENTRIES[3:4], body="open"))
    np.testing.assert_array_equal(again.tracks[1].positions[:, 0], job.tracks[1].positions[:, 3])
    wrong = ended(client, PointsJob.ask(client, job.id, [{"name": "x", "vertex": 10**6}]))
    assert wrong.state == "failed" and "Point 1 has the vertex 1000000" in wrong.error
    other = ended(client, PointsJob.ask(client, job.id, ENTRIES, body="smplx"))
    assert other.state == "failed" and "'smplx'" in other.error
    missing = ended(client, PointsJob.ask(client, "nowhere", ENTRIES))
    assert missing.state == "failed" and missing.error_code == "no_job"
    JobStore(home).open(job.id).update(state="interrupted")
    unfinished = ended(client, PointsJob.ask(client, job.id, ENTRIES))
    assert unfinished.error_code == "not_done"
    cancelled = PointsJob.ask(client, job.id, ENTRIES)
    cancelled.cancel()
    assert ended(client, cancelled).state == "cancelled"
    assert client.error is None


def test_blocks_follow_each_other_and_are_the_whole(monkeypatch):
    from backend.options import MocapOptions
    from backend.recall import track as pointpass

    made = motion(1)
    options = MocapOptions.from_dict(OPTIONS)
    (whole,) = track_points(options, ENTRIES, None, [made])
    monkeypatch.setattr(pointpass, "BLOCK_BYTES", 5 * 48 * 16)
    blocks = list(track_points(options, ENTRIES, None, [made]))
    assert [(b.first, len(b.frames), b.last) for b in blocks] == [
        (0, 16, False),
        (16, 16, False),
        (32, 8, True),
    ]
    np.testing.assert_allclose(np.concatenate([b.positions for b in blocks]), whole.positions, atol=1e-6)


def test_uncertainty_is_that_of_the_carriers():
    joints = np.zeros((2, 55), np.float32)
    joints[0, 3], joints[0, 4], joints[1, 3] = 0.03, 0.04, 0.1
    weights = np.zeros((2, 55), np.float32)
    weights[0, 3] = 1
    weights[1, [3, 4]] = 0.5
    mixed = np.sqrt(0.5 * 0.03**2 + 0.5 * 0.04**2)
    np.testing.assert_allclose(
        carried_uncertainty(weights, joints), [[0.03, mixed], [0.1, 0.1 / 2**0.5]], rtol=1e-6
    )


def test_entries_are_those_of_a_file_of_points():
    points = point_set(ENTRIES, load_body(None), "open")
    assert points.labels == ("corner", "skin", "deep", "elbow", "tip")
