"""What the streams give: targets that fit the pictures, masks, mirror images, the same batch for the same number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.camera.pinhole import Camera
from backend.errors import JobError
from backend.synth.motion import mirrored
from backend.train.mix import MixedBatches, open_streams
from backend.train.streams.augment import Looks, change_looks
from backend.train.streams.batch import Example, collate
from backend.train.streams.framing import STILL, Shake, crop_example, mirror_example, shaken_region
from backend.train.streams.points import point_pool
from backend.train.streams.shards import Shards
from train.conftest import make_people, places


@pytest.mark.slow
def test_targets_lie_in_the_picture(recipe):
    batch = open_streams(recipe)[0].batch(3, 4)
    for K, x, xy, valid in zip(batch.K, batch.points3d, batch.points2d, batch.valid2d, strict=True):
        found = Camera(K.double().numpy(), 256, 256).project(x.double().numpy())
        assert valid.all()
        assert np.abs(found - xy.numpy()).max() < 0.05
    # The dot that was painted at each landmark is still there, whatever happened to the colours.
    assert batch.root == 0
    assert {bool(m) for m in open_streams(recipe)[0].batch(0, 16).mirrored} == {True, False}


def test_dots_are_where_the_targets_say(recipe):
    still = replace(recipe.data.synthetic, shake=Shake(mirror=0.5), looks=Looks(0, 0, 0, 0, 0, 0, 0))
    stream = open_streams(replace(recipe, data=replace(recipe.data, synthetic=still)))[0]
    batch = stream.batch(1, 8)
    rows = stream.pool.landmarks
    for image, xy in zip(batch.images, batch.points2d[:, rows], strict=True):
        inside = ((xy > 4) & (xy < 251)).all(-1)
        x, y = xy[inside].round().long().T
        bright = image.amax(0)[y, x].float()
        # Dots are at least 80 in some channel and the ground below 60; beyond the picture's edge is nothing.
        assert (bright > 75).sum() > 0.95 * (bright > 0).sum() > 20


def test_same_number_same_batch(mixed_recipe):
    a, b = MixedBatches(mixed_recipe, 4, 10), MixedBatches(mixed_recipe, 4, 10)
    b[0], b[5]
    for one, other, third in zip(a[7], b[7], a[8], strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.points3d, other.points3d)
        assert torch.equal(one.points, other.points)
        assert not torch.equal(one.images, third.images)
    assert [x.stream for x in a[0]] == ["synthetic", "real"]
    assert [len(x) for x in a[0]] == [2, 2]


def test_mirrored_person_is_the_mirror_image(body):
    """The target of a mirrored picture is where the mirrored body has the mirror image of the canonical point."""
    people, pool = make_people(body, 2), point_pool(body, 200, 100)
    points = pool.points
    seen = places(body, people, points)
    other = people | {
        "pose": np.stack([mirrored(p) for p in people["pose"]]),
        "trans": people["trans"] * [-1, 1, 1],
    }
    # Rows of the pool with their mirror images: skin and inside come in pairs.
    pairs = np.arange(pool.fixed, len(points))
    twins = pool.fixed + ((pairs - pool.fixed) ^ 1)
    assert np.abs(points.positions[twins] - points.positions[pairs] * [-1, 1, 1]).max() < 1e-5
    there = places(body, other, points.take(twins))
    K = people["K"][0]
    for person in range(2):
        x = seen[person][pairs].astype(float)
        valid = np.ones(len(x), bool)
        flat = Camera(K, 256, 256).project(x)
        example = Example(np.zeros((256, 256, 3), np.uint8), K, x, flat, valid, valid)
        turned = mirror_example(example)
        assert np.abs(turned.points3d - there[person]).max() < 2e-3
        assert np.abs(Camera(turned.K, 256, 256).project(turned.points3d) - turned.points2d).max() < 1e-6
        back = mirror_example(turned)
        assert np.allclose(back.K, example.K)
        assert np.allclose(back.points2d, flat)
        assert not back.mirrored


def test_crops_move_targets_along(body):
    people = make_people(body, 1)
    points = point_pool(body, 200, 100).points
    x = places(body, people, points)[0].astype(float)
    K = people["K"][0]
    camera = Camera(K, 256, 256)
    valid = np.ones(len(x), bool)
    example = Example(np.zeros((256, 256, 3), np.uint8), K, x, camera.project(x), valid, valid)
    rng = np.random.default_rng(0)
    for shake in (STILL, Shake(any_roll=1.0), Shake(upright=1.0)):
        roi = shaken_region(example.points2d[22:55], rng, shake)
        seen = crop_example(example.image, K, roi, example)
        assert np.abs(Camera(seen.K, 256, 256).project(seen.points3d) - seen.points2d).max() < 1e-6
        assert np.allclose(np.linalg.norm(seen.points3d, axis=1), np.linalg.norm(x, axis=1))


def test_teacher_hides_what_it_is_not_sure_of(mixed_recipe):
    stream = open_streams(mixed_recipe)[1]
    batch = stream.batch(0, 4)
    assert not batch.valid2d[:, 5].any()
    assert not batch.valid3d[:, 5].any()
    assert batch.valid3d[:, [4, 6]].all()
    assert not batch.absolute.any()
    assert (batch.points2d[:, 5] == 0).all()
    flat = replace(
        mixed_recipe, data=replace(mixed_recipe.data, real=replace(mixed_recipe.data.real, depth=False))
    )
    assert not open_streams(flat)[1].batch(0, 4).valid3d.any()


def test_points_always_hold_joints_and_landmarks(body):
    pool = point_pool(body, 200, 100)
    rows = pool.draw(np.random.default_rng(0), 100, inside=0.4)
    assert len(set(rows.tolist())) == 100
    assert (rows[: pool.fixed] == np.arange(pool.fixed)).all()
    assert (rows >= pool.fixed + pool.skin).sum() == round(45 * 0.4)
    assert np.allclose(pool.points.positions[0], body.joints_template[0])


def test_unknown_targets_become_zero():
    valid = np.array([True, False])
    unknown = np.array([[1.0, 2, 3], [np.nan] * 3])
    example = Example(np.zeros((4, 4, 3), np.uint8), np.eye(3), unknown, unknown[:, :2], valid, valid)
    batch = collate([example], np.zeros((2, 3)), -1, "x")
    assert torch.isfinite(batch.points3d).all()
    assert batch.points3d[0, 0].tolist() == [1, 2, 3]


def test_looks_keep_shape_and_answer_to_the_generator():
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    every = Looks(1, 1, 1, 1, 1, 1, 1)
    for seed in range(12):
        a, b = (change_looks(image, np.random.default_rng(seed), every) for _ in range(2))
        assert a.shape == image.shape
        assert a.dtype == np.uint8
        assert np.array_equal(a, b)
        assert not np.array_equal(a, image)
    nothing = Looks(0, 0, 0, 0, 0, 0, 0)
    assert np.array_equal(change_looks(image, np.random.default_rng(1), nothing), image)


def test_missing_and_foreign_files_get_one_sentence(tmp_path, shards):
    with pytest.raises(JobError, match="There are no pictures in"):
        Shards([tmp_path], ("K",))
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(JobError, match="not a file of this kind"):
        Shards([tmp_path], ("K",))
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(JobError, match="cannot be read"):
        Shards([tmp_path], ("K",))
    # What another process is writing has a hidden name.
    (tmp_path / "a.npz").rename(tmp_path / ".a.1234.part.npz")
    known = Shards([tmp_path, shards], ("K",))
    assert len(known) == 8
    image, row = known.row(5)
    assert image.shape == (256, 256, 3)
    assert row["K"][0, 0] == 240
