"""Light: a panorama sheds what it shows, skies are measured rightly, shadows fall where they must."""

from __future__ import annotations

import numpy as np
import pytest

from backend.synth.backdrop import Panorama, look_up
from backend.synth.light import Light, directions, gradient, harmonics, made_up, of_panorama, turned
from backend.synth.mesh import solid, unit_box
from backend.synth.picture import shadow_map
from backend.synth.rays import lit, sky


def irradiance(light: Light, n: np.ndarray) -> np.ndarray:
    n = n / np.linalg.norm(n)
    return np.array([sky(light.sh, *n, k) for k in range(3)])


@pytest.fixture
def spot():
    """Grey all round, one bright place."""
    radiance = np.full((64, 128, 3), [0.2, 0.3, 0.4])
    radiance[20, 30] = 4000
    return Panorama(radiance.astype(np.float32), of_panorama(radiance))


def test_an_even_sky_lights_all_sides_alike():
    light = of_panorama(np.full((64, 128, 3), [0.2, 0.3, 0.4]))
    for n in np.random.default_rng(0).normal(size=(10, 3)):
        assert irradiance(light, n) == pytest.approx([0.2, 0.3, 0.4], rel=0.02)
    assert np.abs(light.sun_rgb).max() < 1e-9


def test_the_bright_place_becomes_the_sun(spot):
    towards = directions(64, 128)[20, 30]
    assert spot.light.sun @ towards > 0.999
    area = np.cos(np.pi / 2 - 20.5 / 64 * np.pi) * (np.pi / 64) ** 2
    assert spot.light.sun_rgb.mean() == pytest.approx(4000 * area / np.pi, rel=0.02)
    # It is counted once: the sky behind it stays grey.
    assert irradiance(spot.light, towards) == pytest.approx([0.2, 0.3, 0.4], rel=0.1)


@pytest.mark.parametrize("angle", [0.0, 0.7, 3.0, 5.5])
def test_the_sun_stands_where_the_panorama_shows_it(spot, angle):
    d = directions(128, 256)
    seen = look_up(spot, d, angle).mean(-1)
    brightest = d.reshape(-1, 3)[seen.argmax()]
    assert turned(spot.light, angle).sun @ brightest > 0.998


def test_a_turned_sky_is_the_sky_turned():
    light = made_up(np.random.default_rng(3), False, np.array([0.1, 0.2, 0.1]))
    a = 1.1
    R = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    other = turned(light, a)
    for n in np.random.default_rng(0).normal(size=(10, 3)):
        assert irradiance(other, R @ n) == pytest.approx(irradiance(light, n), abs=1e-9)


def test_a_gradient_is_bright_above_and_towards_the_window():
    up, down, side = np.array([0.8] * 3), np.array([0.2] * 3), np.array([0.5] * 3)
    light = Light(gradient(up, down, 0 * side, np.array([1.0, 0, 0])), *[np.zeros(3)] * 4, 1.0)
    assert irradiance(light, np.array([0, 1.0, 0])) == pytest.approx(up)
    assert irradiance(light, np.array([0, -1.0, 0])) == pytest.approx(down)
    light.sh = gradient(up, up, side, np.array([1.0, 0, 0]))
    assert irradiance(light, np.array([1.0, 0, 0]))[0] > irradiance(light, np.array([-1.0, 0, 0]))[0] + 0.2


def test_harmonics_are_orthonormal():
    d = directions(200, 400)
    area = np.cos(np.arcsin(d[..., 1])) * (np.pi / 200) ** 2
    Y = harmonics(d)
    assert np.abs(np.einsum("hwa,hwb,hw->ab", Y, Y, area) - np.eye(9)).max() < 1e-3


@pytest.mark.slow
def test_a_shadow_falls_away_from_the_sun():
    sun = np.array([0.6, 0.8, 0.0])
    box = solid(unit_box(), [0.2, 0.2, 0.2], np.eye(3), [0.0, 1.0, 0.0], np.zeros(300, np.float32))
    shadow, view = shadow_map([box], sun, np.array([0.0, 0.5, 0.0]), 1.5)
    # One metre below the box the shadow lies 0.75 m to the side that looks away from the sun.
    assert lit(shadow, view, -0.75, 0.0, 0.0, 0.5, 3, 4, 1) == 0
    for x, y, z in ((0.0, 0.0, 0.0), (0.75, 0.0, 0.0), (-0.75, 0.0, 0.5), (0.3, 1.4, 0.0)):
        assert lit(shadow, view, x, y, z, 0.5, 3, 4, 1) == 1
