"""The shipped field on real pictures: it finds people whichever way up, beats the landmarks on joints and skin places
marked by hand, and knows where it cannot know."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.body.load import load_body
from backend.camera.pinhole import Camera
from backend.evaluate.metrics import pa_mpjpe
from backend.localizers.choose import create_localizer
from backend.localizers.contract import LocalizerOptions
from backend.localizers.field.file import read_field
from backend.localizers.field.localizer import WEIGHTS, FieldLocalizer
from backend.people.detect import PersonDetector
from backend.records import Subject
from bench.marks import MARKS, Truth, measure
from blender_addon.shared.frames import open_clip

DEMO = Path(__file__).parents[1] / "data" / "demo.mp4"


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def field(body) -> FieldLocalizer:
    made = create_localizer("field", body, LocalizerOptions("cpu"))
    assert isinstance(made, FieldLocalizer)
    return made


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    with open_clip(DEMO) as clip:
        return next(iter(clip)).image


@pytest.fixture(scope="module")
def subject(frame) -> Subject:
    (found, *_) = PersonDetector().detect([frame])[0]
    return Subject(frame, Camera.from_fov(frame.shape[1], frame.shape[0]), found.box, found.roi)


def test_the_file_says_what_it_is():
    assert WEIGHTS.stat().st_size < 60e6
    model, card = read_field(WEIGHTS)
    assert card["seen"] == card["step"] * card["recipe"]["optim"]["batch"] > 10_000
    assert card["recipe"]["model"]["trunk"] == model.config.trunk
    assert card["uncertainty"]["spearman"] > 0.5
    assert float(model.sigma[0]) > 0


def turn(xy: np.ndarray, shape: tuple[int, ...], quarters: int) -> np.ndarray:
    """Where pixels (n, 2) of a picture of `shape` are after `np.rot90(picture, quarters)`."""
    h, w = shape[:2]
    for _ in range(quarters):
        xy, h, w = np.stack([xy[:, 1], w - 1 - xy[:, 0]], 1), w, h
    return xy


@pytest.mark.slow
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_people_are_found_whichever_way_up(field, subject, quarters):
    image = np.ascontiguousarray(np.rot90(subject.image, quarters))
    x, y, w, h = subject.box
    corners = turn(np.array([[x, y], [x + w, y + h]]), subject.image.shape, quarters)
    box = np.concatenate([corners.min(0), np.ptp(corners, axis=0)])
    other = Subject(image, Camera.from_fov(image.shape[1], image.shape[0]), box)
    found = turn(field.localize([other]).points2d[0], image.shape, 4 - quarters)
    error = np.linalg.norm(found - field.localize([subject]).points2d[0], axis=1)
    assert np.median(error) < 0.03 * max(w, h)


@pytest.mark.slow
def test_unseen_parts_are_uncertain(field, subject):
    seen = field.localize([subject])
    half = subject.image.copy()
    knees = seen.points2d[0, [25, 26], 1].min()
    half[int(knees) :] = 128
    hidden = field.localize(
        [Subject(half, subject.camera, subject.box, subject.roi, seen.points2d[0, :33].astype(float))]
    )
    legs, top = [25, 26, 27, 28, 29, 30, 31, 32], [0, 2, 5, 11, 12]
    ratio = hidden.uncertainty[0] / seen.uncertainty[0]
    assert np.median(ratio[legs]) > 1.4
    assert np.median(ratio[legs]) > 1.25 * np.median(ratio[top])


@pytest.mark.slow
def test_better_than_the_landmarks_against_marks_set_by_hand(body):
    truth = Truth.read(MARKS, MARKS / "pose2sim_single_calib.qca.txt", body)
    field = measure("field", [DEMO], truth, body, "cpu")
    landmarks = measure("landmarks-heavy", [DEMO], truth, body, "cpu")
    assert field["dense"]["missing"] == 0
    assert field["dense"]["median_percent_of_box"] < 2.0
    ours, theirs = (m["mean"] for m in (field, landmarks))
    assert ours["joints"]["pa_mpjpe_mm"] < 0.85 * theirs["landmarks"]["pa_mpjpe_mm"]
    assert ours["joints"]["mpjpe_mm"] < 0.85 * theirs["landmarks"]["mpjpe_mm"]


@pytest.mark.slow
def test_a_mirrored_person_is_the_mirror_image(field, subject):
    seen = field.localize([subject])
    width = subject.image.shape[1]
    image = np.ascontiguousarray(cv2.flip(subject.image, 1))
    marks = seen.points2d[0, :33].astype(float) * [-1, 1] + [width - 1, 0]
    names = [n.replace("left", "L").replace("right", "left").replace("L", "right") for n in _names()]
    order = [_names().index(n) for n in names]
    other = field.localize([Subject(image, subject.camera, subject.box, None, marks[order])])
    back = other.points3d[0, :33][order] * [-1, 1, 1]
    assert pa_mpjpe(back[None], seen.points3d[:, :33])[0] < 45


def _names() -> list[str]:
    from backend.body.landmarks import LANDMARK_NAMES

    return list(LANDMARK_NAMES)
