"""Cuts of real films: found where they are, and nowhere else."""

import cv2
import numpy as np
import pytest

from backend.shots.cuts import ChangeWatch, find_cuts
from shots.films import SIZE, look, seen

DEMO, PAIR = "demo.mp4", "two_people.mp4"


def three_shots() -> np.ndarray:
    """Cuts at 20 and 38: another place, then the same place nearer."""
    return np.concatenate(
        [look(DEMO, 20), look(PAIR, 18, wide=0.95), look(PAIR, 20, at=(0.4, 0.3), wide=0.5)]
    )


@pytest.mark.parametrize("fps", [6.0, 30.0, 120.0])
def test_three_shots(tmp_path, fps):
    assert find_cuts(*seen(three_shots(), tmp_path / "a.mp4", fps)).tolist() == [20, 38]


def test_dark_shots(tmp_path):
    assert find_cuts(*seen((three_shots() * 0.2).astype(np.uint8), tmp_path / "a.mp4")).tolist() == [20, 38]


def test_pictures_shown_twice_move_no_cut(tmp_path):
    assert find_cuts(*seen(three_shots().repeat(2, 0), tmp_path / "a.mp4", 60)).tolist() == [40, 76]


def flash(film: np.ndarray) -> None:
    film[15:18] = np.clip(film[15:18].astype(float) * 3 + 150, 0, 255)


def lamp(film: np.ndarray) -> None:
    film[15:] = film[15:] * np.linspace(0.3, 0.6, SIZE[0])[:, None]


def passer(film: np.ndarray) -> None:
    for k in range(12):
        x = int((k - 8) / 12 * 2 * SIZE[0])
        cv2.rectangle(film[12 + k], (x, 0), (x + SIZE[0], SIZE[1]), (70, 60, 90), -1)


def black(film: np.ndarray) -> None:
    film[10:28] = 0


@pytest.mark.parametrize("event", [flash, lamp, passer, black])
def test_what_both_sides_share_is_no_cut(tmp_path, event):
    film = look(DEMO, 36).copy()
    event(film)
    assert find_cuts(*seen(film, tmp_path / "a.mp4")).tolist() == []


@pytest.mark.parametrize("times", [1, 2])
def test_a_fast_pan_is_no_cut(tmp_path, times):
    """Also where every picture is shown twice, so that each new one lies between two that stand still."""
    film = [look(DEMO, 12, (0, 0), 0.4), look(DEMO, 6, (0, 0), 0.4, (1, 1)), look(DEMO, 12, (1, 1), 0.4)]
    film = np.concatenate(film).repeat(times, 0)
    assert find_cuts(*seen(film, tmp_path / "a.mp4", 30 * times)).tolist() == []


def test_a_dissolve_counts_once(tmp_path):
    a, b = look(DEMO, 36).astype(float), look(PAIR, 36, wide=0.95).astype(float)
    share = np.clip((np.arange(36) - 12) / 12, 0, 1)[:, None, None, None]
    (cut,) = find_cuts(*seen((a * (1 - share) + b * share).astype(np.uint8), tmp_path / "a.mp4"))
    assert 13 <= cut <= 24


def test_a_fade_through_black_counts_once(tmp_path):
    film = three_shots()[:38].astype(float)
    film *= np.clip(abs(np.arange(38) - 19.5) / 8, 0, 1)[:, None, None, None]
    (cut,) = find_cuts(*seen(film.astype(np.uint8), tmp_path / "a.mp4"))
    assert 18 <= cut <= 23


def test_nothing_to_see_has_no_cuts():
    assert find_cuts(np.zeros((5, 2304), np.uint8), np.arange(5) / 30).tolist() == []
    assert find_cuts(np.zeros((0, 2304), np.uint8), np.zeros(0)).tolist() == []


def test_the_watch_sees_cuts_when_they_come_and_goes_on_where_it_stood(tmp_path):
    signatures, times = seen(three_shots(), tmp_path / "a.mp4")
    watch, sudden = ChangeWatch(), []
    for k, (signature, time) in enumerate(zip(signatures, times, strict=True)):
        if k in (20, 30):
            memory, watch = watch.memory(), ChangeWatch()
            watch.recall(memory)
        if watch.see(signature, time):
            sudden.append(k)
    assert sudden == [20, 38]
