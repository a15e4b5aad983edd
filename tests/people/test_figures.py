"""The figures by which following is judged, on cases that were counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bench.people_parts.figures import WIDE, Scene, cared, found_rows, hota, idf1, similarity, switches


def scene(*frames: tuple[list[int], list[int], list[list[float]]]) -> Scene:
    """Of each frame: the people, the tracks, and how alike they are."""
    truth, finds, alike = [], [], []
    for people, tracks, s in frames:
        rows = np.arange(len(people)) + len(truth), np.arange(len(tracks)) + len(finds)
        alike.append((*rows, np.array(s, float).reshape(len(people), len(tracks))))
        truth, finds = truth + people, finds + tracks
    return Scene(np.array(truth), np.array(finds), alike)


BOTH = [[1, 0], [0, 1]]
CROSSED = [[0, 1], [1, 0]]


def share(s: Scene) -> float:
    right, rows, finds = idf1(s)
    return right / (rows + finds)


def test_everybody_always_found():
    s = scene(*[([1, 2], [7, 8], BOTH)] * 4)
    assert share(s) == 1 and switches(s) == (0, 0, 0)
    np.testing.assert_allclose(hota(s), 1)
    assert found_rows(s).all()


def test_two_who_are_exchanged_half_way():
    """Each person has each track in two of four frames."""
    s = scene(*[([1, 2], [7, 8], BOTH)] * 2, *[([1, 2], [7, 8], CROSSED)] * 2)
    assert idf1(s) == (8.0, 8.0, 8.0) and share(s) == 0.5
    assert switches(s) == (2, 0, 0)
    # Of the 6 rows that either a person or his track has, 2 are both's.
    np.testing.assert_allclose(hota(s), [np.sqrt(1 / 3), 1, 1 / 3])


def test_one_who_is_missed_once_and_one_who_is_nobody():
    missed = scene(*[([1], [7], [[1]])] * 3, ([1], [], []))
    assert idf1(missed) == (6.0, 4.0, 3.0) and switches(missed) == (0, 1, 0)
    np.testing.assert_allclose(hota(missed), [0.75, 0.75, 0.75])
    assert found_rows(missed).tolist() == [True, True, True, False]
    ghost = scene(*[([1], [7, 9], [[1, 0]])] * 4)
    assert idf1(ghost) == (8.0, 4.0, 8.0) and switches(ghost) == (0, 0, 4)
    np.testing.assert_allclose(hota(ghost), [np.sqrt(0.5), 0.5, 1])


def test_one_who_comes_back_under_another_number():
    """A gap does not hide a switch; and who keeps his track keeps it though another one is nearer."""
    s = scene(([1], [7], [[1]]), ([1], [], []), ([1], [9], [[1]]), ([1], [9], [[1]]))
    assert switches(s) == (1, 1, 0) and idf1(s) == (4.0, 4.0, 3.0)
    near = scene(([1], [7], [[1]]), ([1], [7, 9], [[0.6, 0.9]]), ([1], [7], [[1]]))
    assert switches(near) == (0, 0, 1)


def test_finds_that_are_a_little_off():
    """0.6 alike: 12 of the 19 bounds are reached. Below a half it is nobody."""
    np.testing.assert_allclose(hota(scene(*[([1], [7], [[0.6]])] * 4)), 12 / 19)
    off = scene(*[([1], [7], [[0.49]])] * 4)
    assert share(off) == 0 and switches(off) == (0, 4, 4) and not found_rows(off).any()


def test_how_alike_is_a_share_of_the_persons_size():
    truth = np.zeros((1, 33, 2))
    truth[0, 0] = [0, -100]
    found = np.stack([truth[0], truth[0] + [WIDE * 50, 0], truth[0] + [0, 400]])
    np.testing.assert_allclose(similarity(truth, found), [[1, 0.5, 0]])


def test_people_of_whom_less_is_seen_count_neither_way():
    """The second one is found in the first frame, and missed in the other; a ghost stays one."""
    s = scene(([1, 2], [7, 8], BOTH), ([1, 2], [7, 9], [[1, 0], [0, 0]]))
    left = cared(s, np.array([True, False, True, False]))
    assert switches(left) == (0, 0, 1) and idf1(left) == (4.0, 2.0, 3.0)
    assert [len(a) for a, _, _ in left.alike] == [1, 1] and [len(b) for _, b, _ in left.alike] == [1, 2]
    assert share(left) == pytest.approx(0.8)
