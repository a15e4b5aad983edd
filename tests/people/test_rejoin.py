"""The second pass over tracks, on constructed people: who is joined, who never is, who is cut and exchanged back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.motion.rejoin import AWAY_S, linked, rejoined, together
from backend.records import LOOKS, TrackChunk

RATE = 20
RED, BLUE = (50.0, 60.0, 40.0), (40.0, 10.0, -50.0)
Colour = tuple[float, float, float]


def figure() -> np.ndarray:
    """(33, 2) pixels of somebody who stands, about the middle of the hips; 100 from there to the ankles."""
    out = np.zeros((33, 2))
    out[:11] = [0, -80]
    out[[11, 12]], out[[13, 14]], out[15:23] = [[15, -60], [-15, -60]], [[20, -35], [-20, -35]], [18, -10]
    out[[23, 24]], out[[25, 26]], out[27:33] = [[10, 0], [-10, 0]], [[10, 50], [-10, 50]], [10, 98]
    return out


def walked(number: int, start_s: float, end_s: float, at: float, speed: float = 0.0, colour: Colour = RED,
           high: float = 300.0) -> TrackChunk:  # fmt: skip
    """Somebody in the clip from `start_s` on and until `end_s`, who is at x `at` pixels at 0 s and goes on by `speed`
    pixels a second."""
    frames = np.arange(round(start_s * RATE), round(end_s * RATE), dtype=np.int32)
    times, n = frames / RATE, len(frames)
    places = np.stack([at + speed * times, np.full(n, high)], 1)
    points = (figure() + places[:, None]).astype(np.float32)
    looks = np.zeros((n, LOOKS, 4), np.float16)
    looks[..., :3], looks[..., 3] = colour, 1
    boxes = np.concatenate([points.min(1), np.ptp(points, 1)], 1)
    return TrackChunk(number, frames, times, boxes, np.dstack([points, np.ones((n, 33))]).astype(np.float32), points,
                      np.full((n, 33), 0.02, np.float32), np.ones(n, np.float32), looks)  # fmt: skip


def one_after_the_other(number: int, *parts: TrackChunk) -> TrackChunk:
    """All in one track."""
    whole = parts[0]
    for part in parts[1:]:
        whole = together(whole, part)
    return replace(whole, track=number)


def colours(track: TrackChunk) -> list[tuple[float, ...]]:
    """Of the person, as they change."""
    rows = [tuple(row) for row in track.looks[track.looks[:, 0, 3] > 0, 0, :3].tolist()]
    return [c for k, c in enumerate(rows) if not k or c != rows[k - 1]]


def test_who_was_lost_and_came_back_is_one_with_a_hole():
    (found,) = rejoined([walked(1, 0, 2, 100, 40), walked(4, 3.5, 6, 100, 40)])
    assert found.track == 1 and (np.diff(found.frames) > 1).sum() == 1
    np.testing.assert_array_equal(np.unique(found.source), [1, 4])
    assert not found.doubt.any()
    # Half a second and less is carried over, and is no frame of anybody.
    (near,) = rejoined([walked(1, 0, 2, 100, 40), walked(4, 2.3, 4, 100, 40)])
    assert len(near.frames) == 4 * RATE and np.isnan(near.points2d[2 * RATE + 1]).all()
    assert set(near.source[2 * RATE : 2 * RATE + 6].tolist()) == {0}


@pytest.mark.parametrize(
    "later",
    [walked(4, 3, 6, 100, 40, BLUE), walked(4, 2 + AWAY_S + 0.5, 18, 140, 0), walked(4, 2.1, 6, 900, 40, high=700)],
    ids=["in other clothes", "after too long", "far away at once"],
)  # fmt: skip
def test_who_is_somebody_else_is_not_joined(later):
    if later.times[0] < 2.2:
        # Clothes of which nothing is seen.
        later = replace(later, looks=later.looks * 0)
    assert [t.track for t in rejoined([walked(1, 0, 2, 100, 40), later])] == [1, 4]


@pytest.mark.parametrize("gap", [-1.0, -0.1, 0.0])
def test_who_is_there_at_the_same_time_is_never_joined(gap):
    a, b = walked(1, 0, 3, 100, 0), walked(2, 3 + gap - 1 / RATE, 6, 320, 0)
    found = rejoined([a, b])
    assert [t.track for t in found] == [1, 2]
    assert [len(t.frames) for t in found] == [len(a.frames), len(b.frames)]


def test_a_track_that_went_on_with_somebody_else_is_cut_where_it_was_lost():
    wandered = one_after_the_other(1, walked(1, 0, 3, 100), walked(1, 3.3, 6, 140, 0, BLUE))
    first, second = rejoined([wandered])
    assert (first.track, second.track) == (1, 2)
    assert colours(first) == [pytest.approx(RED, abs=0.1)] and colours(second) == [
        pytest.approx(BLUE, abs=0.1)
    ]
    assert first.frames[-1] < 3 * RATE <= second.frames[0]
    # In the same clothes it is the same person, and without a break nobody knows better.
    assert len(rejoined([one_after_the_other(1, walked(1, 0, 3, 100), walked(1, 3.3, 6, 140))])) == 1


def test_a_number_that_is_taken_is_not_given_again():
    wandered = one_after_the_other(1, walked(1, 0, 3, 100), walked(1, 3.3, 6, 140, 0, BLUE))
    assert [t.track for t in rejoined([wandered, walked(2, 0, 6, 600)])] == [1, 2, 3]


def test_two_who_exchanged_their_persons_at_a_meeting_are_exchanged_back():
    """They walk through each other at 3 s, and each track goes on with the other one."""
    right = [walked(1, 0, 3, 100, 100, RED), walked(1, 3, 6, 100, 100, RED)]
    left = [walked(2, 0, 3, 700, -100, BLUE), walked(2, 3, 6, 700, -100, BLUE)]
    a, b = one_after_the_other(1, right[0], left[1]), one_after_the_other(2, left[0], right[1])
    assert len(colours(a)) == 2
    one, two = rejoined([a, b])
    assert colours(one) == [pytest.approx(RED, abs=0.1)] and colours(two) == [pytest.approx(BLUE, abs=0.1)]
    # Who did not exchange anything stays.
    one, two = rejoined([one_after_the_other(1, *right), one_after_the_other(2, *left)])
    assert colours(one) == [pytest.approx(RED, abs=0.1)] and not one.doubt.any() and not two.doubt.any()


def test_look_alikes_who_meet_are_doubtful_there_and_nowhere_else():
    one, two = rejoined([walked(1, 0, 6, 100, 100), walked(2, 0, 6, 700, -100, high=340)])
    for t in (one, two):
        assert t.doubt[(t.times > 2.8) & (t.times < 3.2)].all()
        assert not t.doubt[(t.times < 1.5) | (t.times > 4.5)].any()


def test_whoever_might_be_either_of_two_is_doubtful_at_first():
    found = rejoined([walked(1, 0, 2, 300), walked(2, 3, 6, 260), walked(3, 3, 6, 340)])
    assert len(found) == 2
    back = found[0].times >= 3
    assert found[0].doubt[back][:3].all() and not found[0].doubt[back][10:].any()


def test_one_body_that_is_followed_twice_is_one_person():
    (found,) = rejoined([walked(1, 0, 6, 100, 20), walked(2, 2, 5, 103, 20)])
    assert found.track == 1 and len(found.frames) == 6 * RATE
    # The shorter one goes on alone: that is the same person too.
    (found,) = rejoined([walked(1, 0, 5, 100, 20), walked(2, 2, 6, 103, 20)])
    assert len(found.frames) == 6 * RATE


def test_shots_are_linked_by_looks_and_nobody_twice_in_one():
    first = [walked(1, 0, 2, 100), walked(2, 0, 2, 400, 0, BLUE)]
    second = [
        walked(5, 2, 4, 700, 0, BLUE),
        walked(6, 2, 4, 300, 0, BLUE),
        walked(7, 2, 4, 100, 0, (60, -40, 30)),
    ]
    links = {track: person for _, track, person, _ in linked([first, second])}
    assert links[1] == 1 and links[2] == 2 and links[5] == 2
    assert len({links[5], links[6], links[7]}) == 3 and links[6] not in (1, 2) and links[7] not in (1, 2)
