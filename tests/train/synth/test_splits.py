"""Training and held-out share nothing that a network could learn by heart."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from backend.errors import JobError
from backend.synth import World, draw, dyes
from backend.synth.backdrop import load
from backend.synth.motion import load_motion
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
