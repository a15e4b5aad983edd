"""The lit bodies of the overlay: where they are drawn, what hides what, and in which colour."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from backend.body.load import load_body
from backend.camera.pinhole import Camera
from backend.draw import posed as posing
from backend.draw import shaded
from backend.draw.eyes import CameraEye
from backend.draw.raster import Corners, draw, facing
from backend.draw.reduced import reduced, vertex_normals
from backend.draw.shaded import Shaded
from pipeline.drawn import grown, silhouette, standing

GREY = 90
SURE, GUESS = 0.01, 0.3


@pytest.fixture(scope="module")
def body():
    return load_body()


def painted(body, motions, size=(640, 360), row=0, fov=55.0):
    """Everybody on a grey picture of this size, (H, W, 3)."""
    eye = CameraEye(Camera.from_fov(*size, fov))
    canvas = np.full((eye.height, eye.width, 3), GREY, np.uint8)
    Shaded(body, motions, [eye]).paint([canvas], [(i, row) for i in range(len(motions))])
    return canvas


def changed(canvas):
    return (canvas != GREY).any(-1)


# --- fewer triangles ---


def test_the_reduced_body_is_closed_and_has_the_same_shape(body):
    mesh = reduced(body)
    assert len(mesh.rows) == len(set(mesh.rows.tolist())) == 2000 and 3900 < len(mesh.faces) < 4100
    edges = mesh.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    there, back = {tuple(e) for e in edges.tolist()}, {tuple(e[::-1]) for e in edges.tolist()}
    # Every edge has a neighbour that runs through it the other way: no hole, and all normals point outward.
    assert len(there & back) > 0.999 * len(there)
    places = body.v_template[mesh.rows]
    volume = [
        np.einsum("fk,fk->", v[f[:, 0]], np.cross(v[f[:, 1]], v[f[:, 2]])) / 6
        for v, f in ((places, mesh.faces), (body.v_template, body.faces))
    ]
    assert volume[0] == pytest.approx(volume[1], rel=0.03)
    outward = (
        vertex_normals(places, mesh.faces) * vertex_normals(body.v_template, body.faces)[mesh.rows]
    ).sum(1)
    assert np.mean(outward > 0.7) > 0.95


def test_a_body_is_reduced_once(body):
    assert reduced(body) is reduced(body)
    assert len(reduced(body, 10**6).faces) == len(body.faces)


# --- triangles to pixels ---


def test_triangles_side_by_side_leave_no_crack_and_keep_their_colours():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:21, 0:31] * 4.0
    inner = (slice(1, -1), slice(1, -1))
    x[inner] += rng.uniform(-1.2, 1.2, x[inner].shape)
    y[inner] += rng.uniform(-1.2, 1.2, y[inner].shape)
    xy = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)
    # The colour is a plane over the picture.
    colour = np.stack([20 + xy[:, 0], 200 - 2 * xy[:, 1], 60 + xy.sum(1) / 2, np.full(len(xy), 255)], 1)
    corner = np.arange(21 * 31).reshape(21, 31)
    a, b, c, d = (v.ravel() for v in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    corners = Corners(xy, np.ones(len(xy), np.float32), colour.astype(np.float32))
    numbers, _ = facing(corners, faces)
    assert len(numbers) == len(faces) and not len(facing(corners, faces[:, ::-1])[0])
    place, drawn = draw(corners, faces, 140, 90)
    rows, columns = np.divmod(place, 140)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (v, u) for v in range(81) for u in range(121)
    }
    want = np.stack([20 + columns, 200 - 2 * rows, 60 + (rows + columns) / 2, np.full(len(rows), 255)], 1)
    assert np.abs(drawn.astype(float) - want).max() < 1


def test_where_triangles_cross_each_pixel_has_its_own_nearest():
    xy = np.float32([[0, 0], [0, 40], [40, 0]] * 2)
    near = np.float32([0, 0, 2, 1, 1, 1])
    colour = np.float32([[200, 0, 0, 255]] * 3 + [[0, 200, 0, 255]] * 3)
    place, drawn = draw(Corners(xy, near, colour), np.array([[0, 1, 2], [3, 4, 5]]), 50, 50)
    columns = place % 50
    assert (drawn[columns < 20, 1] == 200).all() and (drawn[columns > 20, 0] == 200).all()


def test_what_lies_outside_or_is_not_finite_is_left_out():
    xy = np.float32([[-1e5, -1e5], [-1e5, 3e5], [3e5, -1e5], [np.nan, 0], [60, 60], [60, 70], [70, 60]])
    corners = Corners(xy, np.ones(7, np.float32), np.full((7, 4), 100, np.float32))
    faces = np.array([[0, 1, 2], [0, 3, 2], [4, 5, 6]])
    numbers, _ = facing(corners, faces)
    assert numbers.tolist() == [0, 2]
    place, _ = draw(corners, faces[numbers], 30, 20)
    assert sorted(place.tolist()) == list(range(600))
    assert len(draw(corners, faces[2:], 30, 20)[0]) == 0


# --- bodies ---


@pytest.mark.parametrize(
    ("place", "size"),
    [
        ((0.0, 0.3, 3.0), (640, 360)),
        ((0.2, 0.2, 2.2), (360, 640)),
        ((1.4, 0.3, 2.6), (640, 360)),
        ((0.0, 0.3, 0.7), (640, 360)),
        ((0.0, 0.4, 1.2), (1280, 720)),
    ],
    ids=["middle", "portrait", "half outside", "close", "close and large"],
)
def test_the_body_is_covered_and_nothing_else(body, place, size):
    motion = standing(body, place, turn_deg=30)
    shown = changed(painted(body, [motion], size))
    true = silhouette(body, motion, Camera.from_fov(*size))
    pixels = 3 if size[0] < 1000 and place[2] > 1 else 8
    assert true.sum() > 1000
    assert shown[grown(true, -pixels)].all(), "a hole"
    assert not shown[~grown(true, pixels)].any(), "beside the body"


def test_it_is_translucent_and_lit_from_the_upper_left(body):
    motion = standing(body, (0.0, 0.3, 2.0))
    eye = CameraEye(Camera.from_fov(360, 640))
    dark, light = (np.full((640, 360, 3), v, np.uint8) for v in (0, 200))
    for canvas in (dark, light):
        Shaded(body, [motion], [eye]).paint([canvas], [(0, 0)])
    through = light.astype(int) - dark
    inside = through[grown(silhouette(body, motion, eye.camera), -5)]
    # Between the toes it may be otherwise.
    assert np.mean((inside > 0.2 * 200) & (inside < 0.5 * 200)) > 0.999
    head = eye.camera.project(motion.joints[0, 15]).round().astype(int)
    green = dark[..., 1].astype(int)
    left, right = (
        green[head[1] - 8 : head[1] + 8, head[0] + s - 4 : head[0] + s + 4].mean() for s in (-14, 14)
    )
    assert left > right + 15


def test_the_nearer_person_hides_the_farther_in_any_order(body):
    near, far = (
        standing(body, (0.1, 0.3, 2.5), sigma=GUESS),
        standing(body, (0, 0.3, 4.0), sigma=SURE, track=2),
    )
    camera = Camera.from_fov(640, 360)
    both = painted(body, [near, far])
    np.testing.assert_array_equal(both, painted(body, [far, near]))
    of_near, of_far = (silhouette(body, m, camera) for m in (near, far))
    red = both[..., 0].astype(int) > both[..., 1]
    assert (of_near & of_far).sum() > 500
    assert red[grown(of_near, -3)].all()
    assert not red[grown(of_far, -3) & ~grown(of_near, 3)].any()


def test_the_arm_before_the_chest_hides_it(body):
    """Seen from its side, the body's near arm points at the camera and covers chest and far arm."""
    motion = standing(body, (0.0, 0.5, 3.0), turn_deg=90)
    motion.joint_uncertainty[:] = SURE
    toward = 16 if motion.joints[0, 20, 2] < motion.joints[0, 21, 2] else 17
    motion.joint_uncertainty[:, toward + 2 :: 2][:, :2] = GUESS  # elbow and wrist of this arm
    canvas = painted(body, [motion], (360, 640))
    camera = Camera.from_fov(360, 640)
    u, v = camera.project(motion.joints[0, toward + 2]).round().astype(int)
    assert canvas[v, u, 0] > canvas[v, u, 1], "the near arm"
    flipped = standing(body, (0.0, 0.5, 3.0), turn_deg=-90)
    flipped.joint_uncertainty[:] = motion.joint_uncertainty
    canvas = painted(body, [flipped], (360, 640))
    u, v = camera.project(flipped.joints[0, 12]).round().astype(int)
    assert canvas[v + 5, u, 1] > canvas[v + 5, u, 0], "the far arm is hidden"


def test_colour_follows_uncertainty(body):
    motion = standing(body, (0.0, 0.3, 2.0), sigma=SURE)
    motion.joint_uncertainty[:, [16, 18, 20]] = GUESS  # the left arm
    canvas = painted(body, [motion], (640, 640)).astype(int)
    project = Camera.from_fov(640, 640).project
    for joint, red in ((18, True), (19, False), (3, False), (5, False)):
        u, v = project(motion.joints[0, joint]).round().astype(int)
        assert (canvas[v, u, 0] > canvas[v, u, 1]) == red, joint
    motion.joint_uncertainty[:] = np.nan
    canvas = painted(body, [motion], (640, 640)).astype(int)
    assert (canvas[..., 0] >= canvas[..., 1]).all() and changed(canvas).any()


def test_who_cannot_be_seen_is_not_drawn(body):
    lost = standing(body, count=2)
    for name in ("pose", "trans", "joints", "joint_uncertainty"):
        getattr(lost, name)[0] = np.nan
    for motion in (
        lost,
        standing(body, (0, 0.2, -3)),
        standing(body, (50, 0.2, 3)),
        standing(body, (0, 0, 1e5)),
    ):
        assert changed(painted(body, [motion])).sum() <= 9
    assert changed(painted(body, [lost], row=1)).sum() > 1000


def test_many_frames_are_posed_at_once(body, monkeypatch):
    calls, real = [], posing.forward
    monkeypatch.setattr(posing, "forward", lambda *a, **k: calls.append(len(a[1])) or real(*a, **k))
    motion = standing(body, count=70)
    eye = CameraEye(Camera.from_fov(64, 36))
    style = Shaded(body, [motion], [eye])
    for row in range(70):
        style.paint([np.zeros((36, 64, 3), np.uint8)], [(0, row)])
    assert calls == [32, 32, 6]


def test_memory_does_not_grow_with_the_number_of_people_who_come_and_go(body):
    motions = []
    for k in range(12):
        motions.append(standing(body, count=40, track=k + 1))
        motions[-1].frames = motions[-1].frames + 40 * k
    made = []

    def make(motion, start, end):
        made.append(Made())
        return made[-1]

    class Made:
        pass

    chunks = posing.Chunked(motions, make)
    for number in range(12):
        for row in range(40):
            assert chunks.of(number, row) == (made[-1], row % 32)
    assert len(made) == 24
    alive = [weakref.ref(m) for m in made]
    made.clear()
    assert sum(one() is not None for one in alive) <= 3


def test_bodies_far_from_each_other_do_not_cost_what_lies_between(body, monkeypatch):
    boxes, real = [], shaded._tile
    monkeypatch.setattr(shaded, "_tile", lambda parts, box, *a: boxes.append(box) or real(parts, box, *a))
    painted(body, [standing(body, (-3, 0.3, 6)), standing(body, (3, 0.3, 6), track=2)], (1280, 360))
    assert len(boxes) == 2 and all(right - left < 500 for left, _, right, _ in boxes)
    boxes.clear()
    painted(body, [standing(body, (-0.2, 0.3, 6)), standing(body, (0.2, 0.3, 6), track=2)], (1280, 360))
    assert len(boxes) == 1
