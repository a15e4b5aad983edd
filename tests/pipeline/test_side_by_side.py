"""Frames and people side by side: the same result however many hands there are, and a job that goes on as it would."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from backend import pipeline
from backend.batch.decoding import decoded_ahead
from backend.localizers.landmarks.localizer import LandmarksLocalizer
from backend.nets import engine
from backend.options import MocapOptions
from backend.people import ahead
from backend.pipeline import mocap
from backend.records import Chunk, Notice, Progress, TrackMotion
from blender_addon.shared.frames import Frame, open_clip

CLIP = Path(__file__).resolve().parents[1] / "data" / "demo.mp4"
FRAMES = 26
ARRAYS = ("frames", "times", "pose", "trans", "betas", "joints", "joint_uncertainty")


@pytest.fixture(scope="module")
def clip():
    """One man, without whom the clip's left edge cuts off: who comes and goes keeps frames from going together."""
    with open_clip(CLIP) as opened:
        some = list(islice(opened, FRAMES))
    return [Frame(f.index, f.time_s, np.ascontiguousarray(f.image[:, 160:])) for f in some]


def run(frames, workers: int, resume=(), **options):
    made = MocapOptions("landmarks-lite", chunk=8, workers=workers, **options)
    return list(mocap(frames, made, total=FRAMES, resume=resume))


def finals(events) -> list[TrackMotion]:
    return [e for e in events if isinstance(e, TrackMotion) and e.final]


def assert_same(one, other):
    assert [m.track for m in one] == [m.track for m in other] != []
    for a, b in zip(one, other, strict=True):
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.fixture(scope="module")
def two(clip):
    """The road with two hands, and how many frames each call of the localizer was about."""
    calls: list[int] = []
    whole = LandmarksLocalizer.localize

    def spied(self, subjects, prepared=None):
        calls.append(len({id(s.image) for s in subjects}))
        return whole(self, subjects, prepared)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LandmarksLocalizer, "localize", spied)
        return run(clip, 2), calls


@pytest.mark.slow
def test_several_frames_go_at_once(two):
    events, calls = two
    assert max(calls) == 4 and len(calls) < FRAMES
    assert [e.done for e in events if isinstance(e, Progress) and e.stage == "localize"] == list(
        range(1, FRAMES + 1)
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 8])
def test_the_result_is_the_same_to_the_bit(workers, clip, two):
    assert_same(finals(run(clip, workers)), finals(two[0]))


@pytest.mark.slow
def test_a_job_resumed_between_them_ends_alike(clip, two):
    chunks = [e for e in two[0] if isinstance(e, Chunk)]
    kept = [Chunk.from_arrays(c.to_arrays()) for c in chunks[:2]]
    resumed = run(clip[kept[-1].last + 1 :], 2, resume=kept)
    assert_same(finals(resumed), finals(two[0]))


@pytest.mark.slow
def test_frames_whose_guess_was_wrong_leave_nothing_behind(clip, two, monkeypatch):
    """With every guess refused the road is that of single frames, to the bit; with guesses it is another one."""
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "agree", lambda *_: False)
        refused = finals(run(clip, 2))
    monkeypatch.setattr(ahead, "MOST", 1)
    single = finals(run(clip, 2))
    assert_same(refused, single)
    assert not np.array_equal(single[0].pose, finals(two[0])[0].pose)


def test_a_job_that_is_left_early_leaves_no_threads(clip):
    before = set(threading.enumerate())
    events = mocap(decoded_ahead(iter(clip)), MocapOptions("landmarks-lite", workers=3))
    assert any(isinstance(e, Progress) and e.stage == "localize" for e in events)
    assert {t.name.split("_")[0] for t in set(threading.enumerate()) - before} >= {"hand", "decoding"}
    events.close()
    del events
    assert set(threading.enumerate()) <= before


def test_without_the_engine_it_is_said_and_goes_on(clip, monkeypatch):
    for module in (engine, pipeline):
        monkeypatch.setattr(module, "is_installed", lambda: False)
    events = list(mocap(clip[:3], MocapOptions("landmarks-lite")))
    assert any("ONNX Runtime is missing" in e.text for e in events if isinstance(e, Notice))
    assert events[-1].engine == "torch"


@pytest.mark.slow
def test_torch_finds_the_same_people(clip, two):
    """The reference engine. Where the next crop lies depends on the last one, so that the smallest difference grows to
    what any other crop would have brought; it must not grow beyond."""
    slow = finals(run(clip, 1, engine="torch"))
    assert [len(m.frames) for m in slow] == [len(m.frames) for m in finals(two[0])]
    for a, b in zip(slow, finals(two[0]), strict=True):
        off = np.linalg.norm(a.joints[:, :22] - b.joints[:, :22], axis=-1)
        assert off.mean() < 0.03 and np.percentile(off, 90) < 0.06


def test_decoding_ahead_changes_nothing_and_hands_on_errors(clip):
    assert [f.index for f in decoded_ahead(iter(clip))] == list(range(FRAMES))
    assert list(decoded_ahead(iter([]))) == []

    def broken():
        yield from clip[:3]
        raise OSError("the disk is gone")

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for frame in decoded_ahead(broken()):
            seen.append(frame.index)
    assert seen == [0, 1, 2]


def test_decoding_ahead_is_bounded_and_ends_when_nobody_wants_more():
    taken = []

    def endless():
        image = np.zeros((1080, 1920, 3), np.uint8)
        for n in range(10_000):
            taken.append(n)
            yield Frame(n, n / 30, image)

    some = decoded_ahead(endless())
    assert [next(some).index for _ in range(3)] == [0, 1, 2]
    some.close()
    assert len(taken) < 20
