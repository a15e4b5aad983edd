"""The field on another body than the shipped one: the same places of the body are asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backend.body.load import load_body
from backend.body.model import Body
from backend.body.pointsets import PointSet, make_set
from backend.localizers.contract import LocalizerOptions
from backend.localizers.field.localizer import FieldLocalizer
from backend.localizers.nlf import space
from backend.localizers.nlf.space import rest_places
from backend.volumes.map import map_volumes


@pytest.fixture(scope="module")
def own() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def other(own) -> Body:
    """A licensed body as far as anybody can tell: somebody else's mean shape, of fewer shape directions."""
    betas = np.zeros(own.n_betas, np.float32)
    betas[:4] = [1.2, -0.8, 0.7, 0.5]
    return replace(
        own,
        name="smplx",
        v_template=own.v_template + own.shapedirs @ betas,
        joints_template=own.joints_template + own.joints_shapedirs @ betas,
        shapedirs=own.shapedirs[..., :10],
        joints_shapedirs=own.joints_shapedirs[..., :10],
    )


@pytest.mark.slow
def test_places_of_another_body_are_carried_over_once(own, other, tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path))
    told: list[str] = []
    rows = np.arange(0, len(own.v_template), 37)
    points = other.vertices_as_points(rows)
    found = rest_places(other, points, own, told.append)
    error = np.linalg.norm(found - own.v_template[rows], axis=1)
    moved = np.linalg.norm(other.v_template[rows] - own.v_template[rows], axis=1)
    assert np.median(moved) > 0.02
    assert np.median(error) < 0.006
    assert np.quantile(error, 0.95) < 0.02
    assert len(told) == 1
    # The second time the map is there already.
    monkeypatch.setattr(space, "map_volumes", lambda *_: pytest.fail("made again"))
    again = rest_places(other, points, own, told.append)
    assert np.allclose(again, found, atol=1e-5)
    assert len(told) == 1
    monkeypatch.setattr(space, "map_volumes", map_volumes)
    # The localizer asks the field for these places, and takes raw ones as they are.
    localizer = FieldLocalizer(other, LocalizerOptions("cpu", note=told.append))
    asked = localizer.prepare(points)
    assert np.allclose(asked.points.numpy(), found, atol=1e-5)
    raw = np.array([True] * 2 + [False] * (len(rows) - 2))
    mixed = PointSet("mixed", tuple(str(r) for r in rows), points, np.zeros((0, 2), np.int32), raw)
    where = localizer.places(mixed)
    assert np.allclose(where[:2], points.positions[:2])
    assert np.allclose(where[2:], found[2:], atol=1e-5)
    assert len(told) == 1


@pytest.mark.slow
def test_the_shipped_bodys_places_are_the_fields_own(own):
    points = own.vertices_as_points(np.arange(5))
    assert np.array_equal(
        rest_places(own, points, own, lambda _: pytest.fail("nothing to tell")), points.positions
    )
    assert make_set("x", tuple("abcde"), points).points is points
