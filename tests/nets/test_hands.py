"""Work side by side: in order, with the first error, and without threads that stay."""

from __future__ import annotations

import threading
import time

import cv2
import pytest

from backend.nets.hands import ONE, Hands


@pytest.mark.parametrize("count", [1, 2, 8])
def test_results_come_in_the_order_of_the_pieces(count):
    def slow_first(n: int) -> int:
        time.sleep(0.02 if n == 0 else 0)
        return n * n

    with Hands(count) as hands:
        assert hands.map(slow_first, range(20)) == [n * n for n in range(20)]
        assert hands.map(lambda a, b: a + b, [1, 2], [10, 20]) == [11, 22]


def test_pieces_are_done_at_the_same_time():
    meeting = threading.Barrier(3, timeout=10)
    with Hands(3) as hands:
        assert len(hands.map(lambda _: meeting.wait(), range(3))) == 3


@pytest.mark.parametrize("count", [1, 3])
def test_batches_are_cut_in_order(count):
    with Hands(count) as hands:
        assert hands.batches(lambda a, b: (a, b), 2, [1, 2, 3], "xyz") == [([1, 2], "xy"), ([3], "z")]
        assert hands.batches(len, 2, []) == []


def test_opencv_shares_nothing_out_meanwhile():
    before = cv2.getNumThreads()
    with pytest.raises(KeyError), Hands(2):
        assert cv2.getNumThreads() == 1
        raise KeyError
    assert cv2.getNumThreads() == before


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_is_raised_and_leaves_no_threads(count):
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), Hands(count) as hands:
        hands.map(lambda n: 1 // n, [1, 0, 2])
    assert threading.active_count() == before


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_begun_may_use_the_hands_itself(count):
    with Hands(count) as hands:
        begun = hands.begin(lambda: sum(hands.map(abs, [-1, -2])))
        assert hands.map(abs, [-5]) == [5]
        assert begun.result(10) == 3
        failed = hands.begin(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            failed.result(10)


def test_one_has_no_threads():
    assert (
        ONE.map(lambda _: threading.current_thread().name, range(2)) == [threading.current_thread().name] * 2
    )
