"""Questions to a surface, against answers that are known or found the slow way."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from backend.body import JOINT, canonical_points, load_body
from backend.body.points import combine, on_triangles
from backend.body.surface import Surface, closest_on_triangles, surface_of


def box(size: float, turned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A cube of side `size` about the origin, two triangles a side, normals outward."""
    v = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size / 2
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    return v, faces[:, ::-1].copy() if turned else faces


def two_boxes(inner: float, turned: bool) -> Surface:
    (v, f), (w, g) = box(2.0), box(inner, turned)
    return Surface(np.concatenate([v, w]), np.concatenate([f, g + len(v)]))


@pytest.mark.parametrize(
    ("surface", "wanted"),
    [
        (Surface(*box(2.0)), 2.0),
        (two_boxes(0.5, turned=False), 2.0),  # a body within the body does not end it
        (two_boxes(0.5, turned=True), 0.75),  # a hollow does
    ],
)
def test_the_way_out(surface, wanted):
    """From the middle of each side, exactly on the edge between its two triangles, and from beside it."""
    for axis in range(3):
        for sign in (1.0, -1.0):
            for aside in (0.0, 0.11):
                start, way = np.full((1, 3), aside), np.zeros((1, 3))
                start[0, axis], way[0, axis] = sign, -sign
                assert surface.way_out(start, way) == pytest.approx([wanted], abs=1e-6)


def test_an_open_surface_is_never_left():
    v, f = box(2.0)
    lid = Surface(v, f[(v[f][..., 0] < 0).any(1)])
    assert lid.way_out(np.array([[-1.0, 0.1, 0.2]]), np.array([[1.0, 0, 0]])) == [np.inf]


def test_the_nearest_of_a_soup_of_triangles():
    """Long and short triangles and points near and far: the same answer as asking every triangle."""
    rng = np.random.default_rng(0)
    size = 10 ** rng.uniform(-3, 0, 400)
    tri = rng.normal(size=(400, 1, 3)) + rng.normal(size=(400, 3, 3)) * size[:, None, None]
    surface = Surface(tri.reshape(-1, 3), np.arange(1200).reshape(-1, 3))
    p = np.concatenate([rng.normal(size=(300, 3)), rng.normal(size=(20, 3)) * 30, tri[:20, 0]])
    near, face, barycentric = surface.nearest(p)
    for i, x in enumerate(p):
        q, _ = closest_on_triangles(x, tri)
        best = np.linalg.norm(q - x, axis=1)
        assert np.linalg.norm(near[i] - x) == pytest.approx(best.min(), abs=1e-12)
        assert best[face[i]] == pytest.approx(best.min(), abs=1e-12)
    assert np.allclose((tri[face] * barycentric[..., None]).sum(1), near)
    empty = surface.nearest(np.zeros((0, 3)))
    assert [len(a) for a in empty] == [0, 0, 0]


def slow_points(body, p: np.ndarray):
    """The definition of canonical points, a point at a time: nearest triangle, fading over the first 2 cm of depth
    to the walls that face the point, by area / distance^4."""
    v, faces = body.v_template.astype(np.float64), body.faces
    tri = v[faces]
    cross = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    normals = np.zeros_like(v)
    for k in range(3):
        np.add.at(normals, faces[:, k], cross)
    areas = np.linalg.norm(normals, axis=1)
    normals /= np.maximum(areas, 1e-12)[:, None]
    L = np.zeros((len(p), len(v)))
    for i, x in enumerate(p):
        q, bary = closest_on_triangles(x, tri)
        k = int(np.linalg.norm(q - x, axis=1).argmin())
        on_skin = np.zeros(len(v))
        np.add.at(on_skin, faces[k], bary[k])
        way, distance = v - x, np.maximum(np.linalg.norm(v - x, axis=1), 1e-9)
        wall = np.maximum((way * normals).sum(1) / distance, 0) * areas / distance**4
        inside = (q[k] - x) @ (bary[k] @ normals[faces[k]]) > 0 and wall.sum() > 0
        t = min(np.linalg.norm(q[k] - x) / 0.02, 1) if inside else 0
        t = t * t * (3 - 2 * t)
        L[i] = (1 - t) * on_skin + t * (wall / wall.sum() if t else 0)
    weights = L @ body.weights
    posedirs = np.einsum("pv,rvc->rpc", L, body.posedirs.reshape(486, -1, 3), optimize=True)
    mix = lambda a: np.einsum("pv,vck->pck", L, a, optimize=True)  # noqa: E731
    return {
        "weights": weights / weights.sum(1, keepdims=True),
        "shapedirs": mix(body.shapedirs),
        "exprdirs": mix(body.exprdirs),
        "posedirs": posedirs.reshape(486, -1),
    }


def places_around(body, count: int) -> np.ndarray:
    """Places on the skin, just under it, deep below it and above it."""
    rng = np.random.default_rng(3)
    surface = surface_of(body)
    face = rng.choice(len(body.faces), count)
    share = rng.dirichlet([1, 1, 1], count)
    skin = (surface.corners[face] * share[..., None]).sum(1)
    normal = surface.face_normals[face] / np.linalg.norm(surface.face_normals[face], axis=1, keepdims=True)
    depth = np.resize([0, 1e-4, 0.004, 0.012, 0.03, 0.08, -0.01, -0.3], count)
    return skin - depth[:, None] * normal


@pytest.mark.slow
@pytest.mark.parametrize("which", ["open", "smplx"])
def test_canonical_points_equal_their_definition(which, open_body, synthetic_file):
    body = open_body if which == "open" else load_body(synthetic_file)
    p = places_around(body, 32)
    points, slow = canonical_points(body, p), slow_points(body, p)
    assert np.array_equal(points.positions, p.astype(np.float32))
    for name, wanted in slow.items():
        assert np.abs(getattr(points, name) - wanted).max() < 1e-6, name


def test_many_points_equal_few(open_body):
    """The chunks fit together, and nothing hangs on a point's neighbours."""
    p = places_around(open_body, 700)
    many, rows = canonical_points(open_body, p), [3, 299, 300, 512, 699]
    few = canonical_points(open_body, p[rows])
    for name in ("positions", "weights", "shapedirs", "exprdirs", "posedirs"):
        assert np.abs(getattr(many.take(rows), name) - getattr(few, name)).max() < 1e-6
    assert len(canonical_points(open_body, np.zeros((0, 3)))) == 0


@pytest.mark.slow
def test_memory_does_not_grow_with_points_times_vertices(open_body):
    """Twice as many deep points need more memory for themselves, 10 KB each, not for a row of vertices, 110 KB each."""
    spine = open_body.joints_template[[JOINT["pelvis"], JOINT["spine3"]]]
    line = spine[0] + np.linspace(0, 1, 1600)[:, None] * (spine[1] - spine[0])
    canonical_points(open_body, line[:2])
    peaks = []
    for p in (line[::2], line):
        tracemalloc.start()
        try:
            canonical_points(open_body, p)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 800 * 20_000


@pytest.mark.parametrize("which", ["open", "smplx"])
def test_sparse_and_dense_combinations_are_the_same_points(which, open_body, synthetic_file):
    body = open_body if which == "open" else load_body(synthetic_file)
    rng = np.random.default_rng(4)
    L = on_triangles(body, rng.choice(len(body.faces), 20), rng.dirichlet([1, 1, 1], 20))
    a, b = combine(body, L, np.zeros((20, 3))), combine(body, L.toarray(), np.zeros((20, 3)))
    for name in ("weights", "shapedirs", "exprdirs", "posedirs"):
        assert np.abs(getattr(a, name) - getattr(b, name)).max() < 1e-6
    assert np.abs(a.posedirs).max() > 1e-4
