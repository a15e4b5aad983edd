"""Training and held-out share nothing that a network could learn by heart."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from backend.errors import JobError
from backend.synth import World, draw, dyes
from backend.synth.backdrop import load
from backend.synth.motion import load_motion, performer, straightened
from backend.synth.people import shape, shape_cell


def test_no_clip_in_both(motion_file):
    a, b = (load_motion(motion_file, s) for s in ("train", "held-out"))
    with np.load(motion_file) as file:
        assert sorted(a.names + b.names) == sorted(file.files)
        assert not set(a.names) & set(b.names)
        first = file[b.names[0]].reshape(-1, 22, 3)
    assert np.array_equal(b.poses[: len(first)], first.astype(np.float32))
    assert len(a.poses) > 3 * len(b.poses) > 0
    assert a.chance.sum() == pytest.approx(1)


def test_every_kind_of_movement_is_drawn_as_often(motion_file):
    m = load_motion(motion_file, "train")
    per_kind = {}
    for name, chance in zip(m.names, m.chance, strict=True):
        kind = name.split("__")[1]
        per_kind[kind] = per_kind.get(kind, 0) + chance
    assert len(per_kind) == 5
    assert np.ptp(list(per_kind.values())) < 1e-9


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    """A file of the newer layout: walkers whose legs are too long, a boxer who is held out, one couple's long dance."""
    rng = np.random.default_rng(3)
    names = ["02_01", "02_02", "13_07", "salsa_01", "csm_train_walking_18"]
    source = ["mb", "mb", "daz", "daz", "csm"]
    lengths = [60, 40, 50, 900, 30]
    poses = np.zeros((sum(lengths), 22, 3))
    poses[:, [4, 5], 0] = np.deg2rad(rng.uniform(12, 60, (len(poses), 2)))
    bad = np.zeros(len(poses), bool)
    bad[5:15] = True
    path = tmp_path_factory.mktemp("motion") / "whole.npz"
    np.savez(
        path, poses=poses.reshape(-1, 66).astype(np.float16), offsets=np.cumsum([0, *lengths]), names=names,
        source=source, bad=bad,
    )  # fmt: skip
    return path


def test_the_newer_layout_is_split_by_performer(whole_file):
    a, b, both = (load_motion(whole_file, s) for s in ("train", "held-out", None))
    assert b.names == ("13_07",)
    assert set(a.names) | set(b.names) == set(both.names)
    assert len(both.poses) == 1070, "frames in which the recording jumps are left out"
    assert a.chance.sum() == pytest.approx(1)
    chance = dict(zip(a.names, a.chance, strict=True))
    # By the square root of a performer's frames: 900 against 90 and 30.
    assert chance["salsa_01"] / (chance["02_01"] + chance["02_02"]) == pytest.approx(10**0.5)
    assert chance["02_01"] / chance["02_02"] == pytest.approx(50 / 40)
    assert [performer(n) for n in a.names] == ["02", "02", "salsa", "walking"]


def test_legs_that_are_too_long_get_straight():
    """A skeleton one percent too long bends knees that were straight by 16 degrees; feet stay as they stood."""
    true = np.deg2rad(np.linspace(0, 70, 200))
    bent = 2 * np.arccos(0.99 * np.cos(true / 2))
    poses = np.zeros((200, 22, 3), np.float32)
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        poses[:, hip, 0], poses[:, knee, 0], poses[:, ankle, 0] = -bent / 2, bent, -bent / 2
    assert np.rad2deg(poses[0, 4, 0]) == pytest.approx(16.2, abs=0.1)
    out = straightened(poses)
    # The straightest 2 % cannot be told apart.
    np.testing.assert_allclose(out[10:, [4, 5], 0], np.stack([true, true], 1)[10:], atol=np.deg2rad(2))
    np.testing.assert_allclose(out[:, [1, 2]].sum((1, 2)) + out[:, [4, 5]].sum((1, 2)) + out[:, [7, 8]].sum((1, 2)),
                               0, atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(out[:, 1, 0], -out[:, 4, 0] / 2, atol=1e-5)
    straight = np.zeros((50, 22, 3), np.float32)
    np.testing.assert_allclose(straightened(straight), 0, atol=1e-7)


def test_no_background_in_both(backgrounds):
    photos, panoramas = load(backgrounds, "train")
    others, skies = load(backgrounds, "held-out")
    assert len(photos) + len(others) == 20
    assert len(panoramas) + len(skies) == 8
    assert photos
    assert others
    assert not any(np.array_equal(a, b) for a in photos for b in others)


def test_no_body_in_both():
    rng = np.random.default_rng(0)
    cells = [{shape_cell(shape(rng, 16, s)) for _ in range(400)} for s in ("train", "held-out")]
    assert not cells[0] & cells[1]
    assert len(cells[0]) > 3 * len(cells[1]) > 0


@pytest.mark.slow
def test_pictures_keep_to_their_split(world, held_out):
    for w, held in ((world, False), (held_out, True)):
        for i in range(4):
            p = draw(np.random.default_rng([8, i]), w, side=64)
            assert (shape_cell(p.person.betas) % 6 == 1) == held
    assert not np.array_equal(
        draw(np.random.default_rng(0), world, 64).image, draw(np.random.default_rng(0), held_out, 64).image
    )


def test_no_bright_colour_in_both():
    rng = np.random.default_rng(0)
    hues = []
    for split in ("train", "held-out"):
        seen = set()
        for _ in range(1500):
            rgb = dyes.cloth(rng, split)
            srgb = np.where(rgb <= 0.0031308, rgb * 12.92, 1.055 * rgb ** (1 / 2.4) - 0.055)
            h, s, v = colorsys.rgb_to_hsv(*srgb)
            # Greys and the blues of jeans are worn by all.
            if s > 0.36 and v > 0.3 and not 0.55 < h < 0.66:
                seen.add(int(h * 24 + 1e-6))
        hues.append(seen)
    assert not hues[0] & hues[1]
    assert len(hues[0]) > 12


def test_a_split_must_be_one_of_two(body):
    with pytest.raises(ValueError, match="held-out"):
        World(body, None, None, "test")


def test_bad_files_are_refused(tmp_path, body):
    bad = tmp_path / "poses.npz"
    bad.write_bytes(b"no zip")
    with pytest.raises(JobError) as e:
        World(body, bad)
    assert e.value.code == "bad_motion"
    np.savez(bad, a=np.zeros((3, 7)))
    with pytest.raises(JobError) as e:
        World(body, bad)
    assert e.value.code == "bad_motion"
    files = [tmp_path / f"picture{i}.png" for i in range(12)]
    for f in files:
        f.write_bytes(b"no picture")
    with pytest.raises(JobError) as e:
        World(body, None, files)
    assert e.value.code == "bad_background"
