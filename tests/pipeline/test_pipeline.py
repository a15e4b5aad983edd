"""The road on real footage: what comes out, in which order, and how it ends when it cannot go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.errors import JobError
from backend.options import MocapOptions, choose_device
from backend.pipeline import mocap
from backend.records import Chunk, Progress, Summary, TrackMotion
from blender_addon.shared.frames import Frame

OPTIONS = MocapOptions(localizer="landmarks-lite", chunk=6)


@pytest.fixture(scope="module")
def events(frames):
    return list(mocap(frames, OPTIONS, total=len(frames)))


def finals(events) -> list[TrackMotion]:
    return [e for e in events if isinstance(e, TrackMotion) and e.final]


def test_events_come_in_the_order_of_the_road(events):
    kinds = [type(e) for e in events]
    assert kinds[-1] is Summary
    chunks = [e for e in events if isinstance(e, Chunk)]
    assert [(c.first, c.last) for c in chunks] == [(0, 5), (6, 11)]
    steps = [e.done for e in events if isinstance(e, Progress) and e.stage == "localize"]
    assert steps == list(range(1, 13))
    previews = [e for e in events if isinstance(e, TrackMotion) and not e.final]
    assert previews and previews[0].frames.tolist() == list(range(6))
    assert kinds.index(Chunk) < kinds.index(TrackMotion)


def test_the_person_of_the_clip_stands_where_the_footage_shows(events, frames):
    summary = events[-1]
    assert summary.frames == 12 and summary.people == len(finals(events)) >= 1
    motion = max(finals(events), key=lambda m: m.boxes[:, 2:].prod(1).mean())
    assert motion.frames.tolist() == list(range(12))
    np.testing.assert_allclose(motion.times, [f.time_s for f in frames], atol=1e-6)
    h, w = frames[0].image.shape[:2]
    camera = OPTIONS.pinhole(w, h)
    pixels = camera.project(motion.joints[:, :22])
    x, y, bw, bh = motion.boxes.T[:, :, None]
    # Joints lie inside the box around the landmarks, give or take a hand's breadth.
    inside = (np.abs(pixels[..., 0] - x - bw / 2) < 0.6 * bw) & (
        np.abs(pixels[..., 1] - y - bh / 2) < 0.6 * bh
    )
    assert inside.mean() > 0.97
    head, ankles = motion.joints[:, 15], motion.joints[:, [7, 8]].mean(1)
    assert ((ankles - head)[:, 1] > 1.0).all()  # upright, y down, an adult
    assert (motion.joints[:, 0, 2] > 2).all() and (motion.joints[:, 0, 2] < 6).all()
    assert 0.01 < motion.joint_uncertainty[:, :22].mean() < 0.15
    assert np.abs(np.diff(motion.joints, axis=0)).max() < 0.15


@pytest.mark.slow
def test_a_resumed_job_ends_like_an_uninterrupted_one(events, frames):
    chunks = [e for e in events if isinstance(e, Chunk)]
    again = [Chunk.from_arrays(c.to_arrays()) for c in chunks[:1]]
    resumed = finals(mocap(frames[6:], OPTIONS, total=12, resume=again))
    whole = finals(events)
    assert [m.track for m in resumed] == [m.track for m in whole]
    for a, b in zip(resumed, whole, strict=True):
        assert a.frames.tolist() == b.frames.tolist()
        np.testing.assert_array_equal(a.pose, b.pose)
        np.testing.assert_array_equal(a.trans, b.trans)


@pytest.mark.slow
def test_a_job_of_which_all_frames_are_done_needs_no_more_frames(events):
    chunks = [e for e in events if isinstance(e, Chunk)]
    resumed = finals(mocap([], OPTIONS, resume=chunks))
    for a, b in zip(resumed, finals(events), strict=True):
        np.testing.assert_array_equal(a.pose, b.pose)


@pytest.mark.slow
def test_cancel_ends_it_at_once(frames):
    seen = []
    events = []
    for e in mocap(frames, OPTIONS, cancelled=lambda: len(seen) >= 2):
        events.append(e)
        if isinstance(e, Progress):
            seen.append(e)
    assert len(seen) == 2
    assert not any(isinstance(e, Summary) for e in events)


def bodies(events) -> list[Progress]:
    return [e for e in events if isinstance(e, Progress) and e.stage == "body"]


def test_fitting_says_how_many_frames_are_done(events):
    told = bodies(events)
    total = sum(len(m.frames) for m in finals(events))
    assert {e.total for e in told} == {total} and total >= 12
    done = [e.done for e in told]
    assert done == sorted(done) and done[0] == 0 and done[-1] == total and len(set(done)) > 5


def test_cancel_ends_a_track_in_its_middle(events):
    chunks, told = [e for e in events if isinstance(e, Chunk)], []
    for e in mocap([], OPTIONS, resume=chunks, cancelled=lambda: len(bodies(told)) >= 3):
        told.append(e)
    assert len(bodies(told)) == 3 and 0 < bodies(told)[-1].done < 12
    assert not finals(told) and not any(isinstance(e, Summary) for e in told)


@pytest.mark.slow
def test_no_person_is_said_in_one_sentence():
    rng = np.random.default_rng(0)
    noise = [Frame(i, i / 30, rng.integers(0, 255, (240, 320, 3), np.uint8)) for i in range(3)]
    with pytest.raises(JobError, match=r"^No person was found in the 3 frames: .*\.$") as error:
        list(mocap(noise, OPTIONS))
    assert error.value.code == "no_person"


@pytest.mark.slow
def test_no_frames(frames):
    with pytest.raises(JobError) as error:
        list(mocap([], OPTIONS))
    assert error.value.code == "no_frames"


@pytest.mark.slow
def test_frames_that_change_size_are_refused(frames):
    odd = replace(frames[1], image=np.ascontiguousarray(frames[1].image[:-2]))
    with pytest.raises(JobError, match="1080x1918") as error:
        list(mocap([frames[0], odd], OPTIONS))
    assert error.value.code == "bad_frame"


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"localiser": "x"}, "localiser"),
        ({"max_people": "two"}, "max_people"),
        ({"max_people": 0}, "max_people"),
        ({"max_people": True}, "max_people"),
        ({"keep_features": 1}, "keep_features"),
        ({"fov_deg": 400.0}, "fov_deg"),
        ({"smooth": -1}, "smooth"),
        ({"smooth": float("nan")}, "smooth"),
        ({"chunk": True}, "chunk"),
    ],
)
def test_wrong_options_name_the_option(given, word):
    with pytest.raises(JobError, match=word) as error:
        MocapOptions.from_dict(given)
    assert error.value.code == "bad_options"


def test_options_survive_the_wire():
    options = MocapOptions(fov_deg=70, max_people=2)
    assert MocapOptions.from_dict(options.to_dict()) == options


@pytest.mark.slow
def test_unknown_localizer_device_and_body(frames, tmp_path):
    with pytest.raises(JobError, match="landmarks-heavy"):
        list(mocap(frames[:1], replace(OPTIONS, localizer="magic")))
    with pytest.raises(JobError, match="abacus"):
        choose_device("abacus")
    wrong = tmp_path / "SMPLX_NEUTRAL.npz"
    wrong.write_text("not a body")
    with pytest.raises(JobError, match="SMPLX_NEUTRAL") as error:
        list(mocap(frames[:1], replace(OPTIONS, body=str(wrong))))
    assert error.value.code == "bad_body"
