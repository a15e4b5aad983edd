"""Whole pictures: repeatable, sound, and true to the parameters that come with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body import body_landmarks, forward
from backend.synth import draw, points_of, scene, view
from backend.synth.picture import draw_meshes, in_sight
from backend.synth.skin import rotations

pytestmark = pytest.mark.slow


def pixels(x: np.ndarray, K: np.ndarray) -> np.ndarray:
    p = x @ K.T
    return p[:, :2] / p[:, 2:]


def test_the_same_seed_gives_the_same_picture(world, pictures):
    again = draw(np.random.default_rng([3, 5]), world)
    assert np.array_equal(again.image, pictures[5].image)
    assert np.array_equal(again.visible, pictures[5].visible)
    assert np.array_equal(again.person.pose, pictures[5].person.pose)
    assert not np.array_equal(pictures[4].image, pictures[5].image)


def test_pictures_are_sound(world, pictures):
    for p in pictures:
        assert p.image.shape == (256, 256, 3)
        assert p.image.dtype == np.uint8
        assert p.image.std() > 6
        for a in (p.K, p.person.pose, p.person.betas, p.person.expression, p.person.trans):
            assert np.isfinite(a).all()
        assert (points_of(world, p.person)[:, 2] > 0.05).all()
    assert np.mean([p.visible.mean() for p in pictures]) > 0.2


def test_another_side(world):
    p = draw(np.random.default_rng(0), world, side=128)
    assert p.image.shape == (128, 128, 3)
    assert p.K[0, 2] == p.K[1, 2] == 64


def test_points_are_those_of_the_kinematics(world, body, pictures):
    landmarks = body_landmarks(body)[0]
    q = pictures[2].person
    t = [torch.from_numpy(a)[None] for a in (q.pose, q.betas, q.trans, q.expression)]
    expected = forward(body.to(), *t, points=landmarks).points[0].numpy()
    assert np.abs(points_of(world, q, landmarks) - expected).max() < 1e-6
    assert points_of(world, q).shape == body.v_template.shape


def stand(world, seed: int, framing=view.FRAMINGS["crop"]):
    """A person and a view of it, without anything else."""
    rng = np.random.default_rng(seed)
    main = scene.person(rng, world.skin, world.figure, world.body.faces, None, "train", 0)
    return main, view.choose(rng, main.x, 256, False, framing)


def whole(main, seen_from) -> bool:
    xy = pixels(seen_from.to_camera(main.x).astype(float), seen_from.K)
    return not len(seen_from.edges) and xy.min() > 8 and xy.max() < 247


def test_vertices_lie_on_the_silhouette(world):
    for seed in range(6):
        main, seen_from = stand(world, seed)
        drawn = draw_meshes(main.meshes[:1], seen_from)
        mask = (drawn.ids >= 0)[::2, ::2]
        xy = pixels(seen_from.to_camera(main.x).astype(float), seen_from.K)
        near = np.rint(xy).astype(int)
        inside = ((near > 0) & (near < 255)).all(1)
        assert inside.sum() > 2000
        u, v = near[inside].T
        # The mask may miss a thin part by a pixel, no more.
        around = np.zeros_like(mask)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                around |= np.roll(mask, (dy, dx), (0, 1))
        assert around[v, u].mean() > 0.999
        # And what is drawn reaches as far as the vertices do.
        rows, columns = np.nonzero(mask)
        low, high = near[inside].min(0), near[inside].max(0)
        assert np.abs(low - [columns.min(), rows.min()]).max() <= 2
        assert np.abs(high - [columns.max(), rows.max()]).max() <= 2


def test_the_parameters_give_the_body_under_the_clothes(world):
    from backend.synth import person_in_camera

    for seed in (1, 4):
        main, seen_from = stand(world, seed)
        naked = points_of(world, person_in_camera(main, seen_from))
        clothed = seen_from.to_camera(main.x)
        gap = np.linalg.norm(naked - clothed, axis=1)
        assert gap.max() < 0.2
        assert np.median(gap) < 0.03
        # Hands and face wear nothing thick.
        fingers = world.body.weights[:, 25:].sum(1) > 0.9
        assert gap[fingers].max() < 0.012


def test_only_what_is_in_sight_is_visible(world):
    from backend.synth import raster
    from backend.synth.mesh import solid, unit_box

    # Somebody who is in the picture from head to foot.
    main, seen_from = next(s for s in (stand(world, n) for n in range(50)) if whole(*s))

    def visible(meshes, black):
        return in_sight(main, draw_meshes(meshes, seen_from), black)

    no = np.zeros((256, 256), bool)
    free = visible(main.meshes, no)
    assert 0.15 < free.mean() < 0.75
    # What faces away from the camera by far is not seen.
    x = seen_from.to_camera(main.x).astype(float)
    normal = np.empty_like(main.x)
    raster.vertex_normals(main.x, world.body.faces, normal)
    away = ((normal @ seen_from.R.T) * x).sum(1) / np.linalg.norm(x, axis=1)
    assert free[away > 0.5].mean() < 0.02
    # A board that hides the left half of the picture hides the vertices there, and no others.
    axis = seen_from.R[2]
    left = seen_from.centre + 0.4 * axis - 2.0 * seen_from.R[0]
    board = solid(unit_box(), [2.0, 3.0, 0.01], seen_from.R.T, left, main.dress.row)
    hidden = visible([*main.meshes, board], no)
    u = pixels(x, seen_from.K)[:, 0]
    assert not hidden[u < 126].any()
    assert np.array_equal(hidden[u > 130], free[u > 130])
    # So does the black beyond the picture's edge.
    black = no.copy()
    black[:, 128:] = True
    cut = visible(main.meshes, black)
    assert not cut[u > 129].any()
    assert np.array_equal(cut[u < 126], free[u < 126])


def test_the_crop_looks_at_the_middle_of_the_box(world):
    fills, offs = [], []
    for seed in range(60):
        main, seen_from = stand(world, seed)
        if len(seen_from.edges):
            continue
        # The roll is taken out: boxes are upright in the picture.
        R = view.look(seen_from.centre, seen_from.centre + seen_from.R[2])
        x = (main.x - seen_from.centre) @ R.T
        xy = pixels(x, seen_from.K)
        box = np.ptp(xy, axis=0)
        fills.append(box.max() / 256)
        offs.append(np.abs((xy.min(0) + xy.max(0)) / 2 - 128).max() / box.max())
        assert np.allclose(seen_from.R @ seen_from.R.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(seen_from.R) > 0
    assert 0.7 < np.median(fills) < 1.1
    assert np.mean((np.array(fills) > 0.7) & (np.array(fills) < 1.35)) > 0.9
    assert np.median(offs) < 0.12


def test_the_wide_framing_leaves_room(world):
    for seed in range(40):
        main, seen_from = stand(world, seed, view.FRAMINGS["wide"])
        xy = pixels(seen_from.to_camera(main.x).astype(float), seen_from.K)
        # People partly outside the picture are framed whole, too.
        assert 0.4 < np.ptp(xy, axis=0).max() / 256 < 0.75
        assert np.abs((xy.min(0) + xy.max(0)) / 2 - 128).max() < 20
        # Up is up, but for a small roll.
        assert seen_from.R[1, 1] < -0.4
        assert abs(seen_from.R[0, 1]) < 0.25


def test_black_is_what_lies_beyond_the_edge():
    v = view.View(np.eye(3), np.zeros(3), 200.0, 64, np.array([[-1.0, 0, 0.05]]))
    black = v.black()
    # x / z > 0.05 is 10 pixels to the right of the middle.
    assert not black[:, :42].any()
    assert black[:, 43:].all()


def test_the_fast_skin_is_the_kinematics(world, body):
    from backend.synth import skin as s

    rng = np.random.default_rng(0)
    pose, betas, expression = rng.normal(0, 0.5, (55, 3)), rng.normal(size=16), rng.normal(size=20)
    v, joints = s.rest(world.skin, betas, expression)
    local = rotations(pose)
    s.correct(local.astype(np.float32), world.skin.corrected, world.skin.first, world.skin.correctives, v)
    turned, places = s.chain(local, joints)
    out = np.empty_like(v)
    T = s.transforms(turned, places, joints, np.array([0.1, 0.2, 3]))
    s.skin_points(T, world.skin.carriers, world.skin.weights, v, out)
    t = [torch.tensor(a, dtype=torch.float32)[None] for a in (pose, betas, [0.1, 0.2, 3], expression)]
    posed = forward(body.to(), *t, vertices=True)
    assert np.abs(posed.vertices[0].numpy() - out).max() < 1e-4
