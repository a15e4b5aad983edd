"""Cuts of real films: found where they are, and nowhere else."""

import cv2
import numpy as np
import pytest
from camera.turns import WIDE, background

from backend.camera.background import Background, BackgroundTracker
from backend.camera.lasting import Lasting
from backend.shots.cuts import ChangeWatch, find_cuts
from blender_addon.shared.frames import Frame
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


def dissolve() -> np.ndarray:
    a, b = look(DEMO, 36).astype(float), look(PAIR, 36, wide=0.95).astype(float)
    share = np.clip((np.arange(36) - 12) / 12, 0, 1)[:, None, None, None]
    return (a * (1 - share) + b * share).astype(np.uint8)


def test_a_dissolve_counts_once(tmp_path):
    (cut,) = find_cuts(*seen(dissolve(), tmp_path / "a.mp4"))
    assert 13 <= cut <= 24


def test_what_looks_like_a_cut_is_none_where_the_background_goes_on(tmp_path):
    """A camera that walks past things looks like a dissolve; a dissolve, though some of its features are still
    followed, and hard cuts do not go on."""
    signatures, times = seen(dissolve(), tmp_path / "a.mp4")
    assert len(find_cuts(signatures, times, walk(36).goes_on)) == 0
    assert len(find_cuts(signatures, times, Lasting(followed(dissolve()), max(SIZE)).goes_on)) == 1
    assert not walk(36, speed=0.0).goes_on(6, 28, moving=True)
    hard = three_shots()
    lasting = Lasting(followed(hard), max(SIZE))
    assert find_cuts(*seen(hard, tmp_path / "b.mp4"), lasting.goes_on).tolist() == [20, 38]
    assert lasting.goes_on(2, 14, moving=False) and not lasting.goes_on(14, 26, moving=False)


def walk(n: int, speed: float = 1.0) -> Lasting:
    """Features of a camera that goes sideways, so many metres a second."""
    places = np.arange(n)[:, None] / 30 * [speed, 0, 0]
    return Lasting(background(np.tile(np.eye(3), (n, 1, 1)), 900, places, (2, 20)), WIDE)


def followed(film: np.ndarray) -> Background:
    """Features of the pictures of a film."""
    tracker = BackgroundTracker(*SIZE)
    nobody = np.zeros((0, 4))
    return Background.of(
        range(len(film)), [tracker.see(Frame(i, i / 30, p), nobody) for i, p in enumerate(film)]
    )


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


@pytest.mark.parametrize("event", [flash, black])
def test_a_flash_is_no_change_of_place_for_the_watch(tmp_path, event):
    film, watch = look(DEMO, 36).copy(), ChangeWatch()
    event(film)
    assert not any(watch.see(*one) for one in zip(*seen(film, tmp_path / "a.mp4"), strict=True))
