"""The people in one picture, asked for before a job: the real backend, real sockets, real pictures."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.stills.preview import Previewer, outline
from blender_addon.link import process
from blender_addon.link.client import Client
from blender_addon.link.previewjob import PreviewJob
from blender_addon.shared import wire
from blender_addon.shared.frames import open_clip

from .helpers import ROOT, Synthetic, run, wait_for

pytestmark = pytest.mark.slow

OPTIONS = {"localizer": "landmarks-lite", "max_people": 1, "device": "cpu"}
ON_HIM, ON_HER, ON_WALL = (150, 260), (290, 230), (60, 620)
"""Pixels of frame 20 of the clip."""


@pytest.fixture(scope="module")
def picture():
    with open_clip(ROOT / "tests" / "data" / "two_people.mp4") as clip:
        return next(iter(clip.frames(20))).image


@pytest.fixture
def client(home, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    backend = process.start(process.BackendCommand(Path(sys.executable), ROOT), device="cpu")
    wait_for(backend.poll_ready, "the backend")
    with_backend = Client(backend.endpoint, alive=backend.alive)
    yield with_backend
    with_backend.close()
    backend.stop()


def ended(client, job: PreviewJob) -> PreviewJob:
    wait_for(lambda: (client.pump(0.05), job.finished)[1], "the preview")
    return job


def inside(person, place) -> bool:
    return cv2.pointPolygonTest(np.ascontiguousarray(person.outline)[:, None], place, False) > 0


def test_people_of_a_picture_from_left_to_right_and_what_cannot_be_looked_at(client, picture):
    he, she = ended(client, PreviewJob.ask(client, picture, OPTIONS)).people
    assert [inside(p, ON_HIM) for p in (he, she)] == [True, False]
    assert [inside(p, ON_HER) for p in (he, she)] == [False, True]
    assert not any(inside(p, ON_WALL) for p in (he, she))
    for person in (he, she):
        assert 0.5 < person.score <= 1
        area = cv2.contourArea(np.ascontiguousarray(person.outline))
        # A silhouette, not a box.
        assert 0.15 < area / float(person.box[2] * person.box[3]) < 0.75
        assert (person.outline >= 0).all() and (person.outline < [408, 720]).all()
    nobody = ended(client, PreviewJob.ask(client, np.full((240, 320, 3), 90, np.uint8), OPTIONS))
    assert nobody.state == "done" and nobody.people == []
    speck = ended(client, PreviewJob.ask(client, np.zeros((1, 3, 3), np.uint8), OPTIONS))
    assert speck.state == "done" and speck.people == []
    for wrong in (np.zeros((0, 4, 3), np.uint8), np.zeros((1, 17000, 3), np.uint8), np.zeros((8, 8), np.uint8),
                  np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)):  # fmt: skip
        refused = ended(client, PreviewJob.ask(client, wrong, OPTIONS))
        assert refused.state == "failed" and refused.error_code == "malformed"
        assert refused.error.endswith(".") and "\n" not in refused.error
    option = ended(client, PreviewJob.ask(client, picture, {"colour": "red"}))
    assert option.error_code == "bad_options" and "colour" in option.error
    # Whoever steps on to another frame cancels; the next answer is the right one all the same.
    dropped = PreviewJob.ask(client, picture, OPTIONS)
    dropped.cancel()
    after = ended(client, PreviewJob.ask(client, picture[:, ::-1].copy(), OPTIONS))
    assert dropped.state == "cancelled" and len(after.people) == 2
    assert inside(after.people[1], (407 - ON_HIM[0], ON_HIM[1]))
    assert client.error is None and not client.jobs


def test_a_job_at_work_goes_on_beside_it_and_is_the_same(client, picture):
    class Short(Synthetic):
        def __iter__(self):
            with open_clip(ROOT / "tests" / "data" / "two_people.mp4") as clip:
                for frame in clip:
                    if frame.index == self.count:
                        return
                    yield frame

    alone = client.open(Short(16, 408, 720), OPTIONS)
    (straight,) = [r for r in run(client, alone) if r.final]
    job = client.open(Short(16, 408, 720), OPTIONS)
    wait_for(lambda: (client.pump(0.02), job.progress.done > 2)[1], "the job")
    assert len(ended(client, PreviewJob.ask(client, picture, OPTIONS)).people) == 2
    (beside,) = [r for r in run(client, job) if r.final]
    np.testing.assert_array_equal(beside.pose, straight.pose)


def test_a_client_that_leaves_takes_its_preview_along(client, picture, home):
    import json

    from blender_addon.shared.home import Endpoint

    other = Client(Endpoint(**json.loads((home / "endpoint.json").read_text())))
    for _ in range(3):
        PreviewJob.ask(other, picture, OPTIONS)
    other.pump(0.2)
    other.close()
    assert len(ended(client, PreviewJob.ask(client, picture, OPTIONS)).people) == 2


def test_a_backend_without_previews_says_so(raw):
    raw.hello()
    raw.say("preview", arrays={"image": np.zeros((8, 8, 3), np.uint8)}, options={})
    refused = raw.expect("error")
    assert refused.fields["code"] == "no_preview"
    raw.say("preview", arrays={"image": np.zeros((8, 8, 3), np.uint8)})
    assert raw.expect("error").fields["code"] == "malformed"
    raw.say("cancel", asked=99)
    raw.say("ping")
    raw.expect("pong")


@pytest.mark.parametrize("offsets", [[0, 3], [0, 2, 5], [1, 3, 5], [0, 3, 6], [0, 5, 3], []])
def test_outlines_that_do_not_fit_are_refused(offsets):
    arrays = {"boxes": np.zeros((2, 4), np.float32), "scores": np.ones(2, np.float32),
              "outlines": np.zeros((5, 2), np.float32), "offsets": np.array(offsets, np.int32)}  # fmt: skip
    job = PreviewJob(None)
    with pytest.raises(wire.WireError):
        job._on_preview(wire.Message("preview", arrays=arrays))
    assert job.people == [] and not job.finished


def test_cancelled_before_it_began():
    assert Previewer("cpu")(np.zeros((8, 8, 3), np.uint8), None, lambda: True) is None


def test_outlines_of_people_who_are_hardly_in_the_picture():
    triangle = np.array([[0, 1, 2]])
    for places in ([[-50, 10], [-20, 10], [-30, 40]], [[700, 900], [720, 900], [710, 950]], [[5, 5]] * 3):
        places = np.array(places, float)
        for mesh in (places, None):
            corners = outline(mesh, triangle, places, (64, 48))
            assert len(corners) >= 3 and np.isfinite(corners).all()
            assert (corners >= 0).all() and (corners <= [63, 47]).all()
            assert cv2.contourArea(corners) > 10


def test_an_outline_is_that_of_the_triangles():
    mesh = np.array([[100, 100], [200, 100], [200, 200], [100, 200]], float)
    corners = outline(mesh, np.array([[0, 1, 2], [0, 2, 3]]), mesh, (640, 480))
    assert cv2.contourArea(corners) == pytest.approx(100 * 100, rel=0.06)
    np.testing.assert_allclose(corners.mean(0), [150, 150], atol=3)
