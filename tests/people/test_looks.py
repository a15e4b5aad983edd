"""What somebody looks like, in a painted picture of which every colour is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.people.looks import HOLD, PARTS, learnt, model_of, observed, same
from backend.records import LOOKS

SKIN, SHIRT, TROUSERS, SHOES, WALL = (
    (220, 170, 140),
    (200, 30, 30),
    (20, 40, 160),
    (20, 20, 20),
    (120, 160, 120),
)
UPPER, LOWER, FEET = ("chest", "belly", "upper arms"), ("thighs", "shins"), ("feet",)


def pose() -> np.ndarray:
    """(33, 2) landmarks of somebody who stands upright and looks here, 300 pixels tall."""
    out = np.zeros((33, 2))
    out[:11] = [200, 60]
    out[[2, 5]], out[[7, 8]], out[[9, 10]] = (
        [[208, 55], [192, 55]],
        [[216, 58], [184, 58]],
        [[205, 70], [195, 70]],
    )
    out[[11, 12]], out[[13, 14]], out[[15, 16]] = (
        [[235, 100], [165, 100]],
        [[250, 150], [150, 150]],
        [[255, 195], [145, 195]],
    )
    out[17:23:2], out[18:23:2] = [256, 205], [144, 205]
    out[[23, 24]], out[[25, 26]], out[[27, 28]] = (
        [[222, 195], [178, 195]],
        [[222, 265], [178, 265]],
        [[222, 330], [178, 330]],
    )
    out[[29, 30]], out[[31, 32]] = [[220, 338], [180, 338]], [[230, 345], [170, 345]]
    return out


def painted(shirt=SHIRT, trousers=TROUSERS) -> np.ndarray:
    """(400, 400, 3) uint8 RGB: that person before a wall."""
    image = np.full((400, 400, 3), WALL, np.uint8)
    p = pose().astype(int)
    line = lambda a, b, colour, wide: cv2.line(image, p[a].tolist(), p[b].tolist(), colour, wide)  # noqa: E731
    for a, b in ((23, 25), (25, 27), (24, 26), (26, 28)):
        line(a, b, trousers, 30)
    for a, b in ((29, 31), (30, 32)):
        line(a, b, SHOES, 18)
    cv2.fillPoly(image, [p[[11, 12, 24, 23]]], shirt)
    for a, b in ((11, 13), (12, 14)):
        line(a, b, shirt, 24)
    for a, b in ((13, 15), (14, 16)):
        line(a, b, SKIN, 20)
    cv2.circle(image, (200, 58), 28, SKIN, -1)
    return image


def lab(rgb) -> np.ndarray:
    return cv2.cvtColor(np.float32([[rgb]]) / 255, cv2.COLOR_RGB2LAB)[0, 0]


def seen(image: np.ndarray, points: np.ndarray | None = None, others=(), sigma: float = 0.02) -> np.ndarray:
    points = pose() if points is None else points
    return observed(image, points, np.full(33, sigma), 3.0, others).astype(float)


def of(looks: np.ndarray, part: str) -> np.ndarray:
    return looks[PARTS.index(part)]


def test_each_part_has_the_colour_that_was_painted():
    looks = seen(painted())
    for parts, colour in ((UPPER, SHIRT), (LOWER, TROUSERS), (("forearms", "face"), SKIN), (FEET, SHOES)):
        for part in parts:
            assert np.linalg.norm(of(looks, part)[:3] - lab(colour)) < 20, part
            assert of(looks, part)[3] > 0.5, part


def test_front_and_back_are_told_apart():
    front = seen(painted())
    turned = pose()[
        [*range(11), 12, 11, 14, 13, 16, 15, *range(17, 23), 24, 23, 26, 25, 28, 27, 30, 29, 32, 31]
    ]
    back = seen(painted(), turned)
    assert of(front, "chest")[3] > 0.9 > 0.1 > of(front, "upper back")[3]
    assert of(back, "upper back")[3] > 0.9 > 0.1 > of(back, "chest")[3]


def test_what_is_covered_or_outside_or_unsure_says_little():
    whole = seen(painted())
    nearer = [(pose() + np.array([0, 60]), 2.0)]
    assert seen(painted(), others=nearer)[:, 3].sum() < 0.5 * whole[:, 3].sum()
    # Somebody farther away covers nothing.
    np.testing.assert_array_equal(seen(painted(), others=[(pose() + np.array([0, 60]), 4.0)]), whole)
    cut = seen(painted()[:230])
    assert of(cut, "feet")[3] == of(cut, "shins")[3] == 0 < of(cut, "chest")[3]
    assert of(seen(painted(), sigma=0.3), "chest")[3] < 0.2 * of(whole, "chest")[3]
    assert not seen(painted(), np.full((33, 2), np.nan)).any()


def test_the_same_clothes_are_one_person_and_others_are_not():
    a, other = seen(painted()), seen(painted(shirt=(30, 160, 60), trousers=(230, 220, 200)))
    # Darker, as in a shadow, and elsewhere in the picture.
    shadow = seen((painted() * 0.8).astype(np.uint8))
    moved = seen(np.roll(painted(), 40, 1), pose() + np.array([40, 0]))
    assert same(a, moved) > 3 and same(a, shadow) > 0 > same(a, other) and same(a, other) < -2
    assert same(a, other) == same(other, a)
    # Where nothing is seen, nothing is said.
    nothing = a.copy()
    nothing[:, 3] = 0
    assert same(a, nothing) == 0
    # Of somebody who differs in the shirt alone less is said against.
    assert same(a, other) < same(a, seen(painted(shirt=(30, 160, 60))))


def test_a_model_is_what_was_seen_mostly_and_well():
    good = np.zeros((21, LOOKS, 4))
    good[..., :3], good[..., 3] = lab(SHIRT), 1
    # A third of the frames lie, and as many were seen badly.
    good[:7, :, :3] = lab(WALL)
    good[7:14, :, :3], good[7:14, :, 3] = lab(SHOES), 0.1
    model = model_of(np.concatenate([good, good[14:]]))
    np.testing.assert_allclose(model[:, :3], np.tile(lab(SHIRT), (LOOKS, 1)), atol=1e-3)
    assert model[0, 3] == pytest.approx(7 + 0.7 + 7 + 7)
    assert not model_of(np.zeros((0, LOOKS, 4))).any()


def test_learning_forgets_slowly():
    one, two = (np.tile([*lab(c), 1.0], (LOOKS, 1)) for c in (SHIRT, TROUSERS))
    model = learnt(None, one)
    for _ in range(99):
        model = learnt(model, one)
    assert model[0, 3] == HOLD
    model = learnt(model, two)
    share = np.linalg.norm(model[0, :3] - lab(SHIRT)) / np.linalg.norm(lab(TROUSERS) - lab(SHIRT))
    assert share == pytest.approx(1 / (HOLD + 1), rel=1e-3)
