"""Small motion clips and backgrounds made on the spot, and the worlds that they make."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.body import load_body
from backend.synth import World, draw
from backend.synth.rules import ruled_pose


@pytest.fixture(scope="session")
def motion_file(tmp_path_factory):
    """40 clips of 6 frames each, by rules, in the layout of the motion file."""
    rng = np.random.default_rng(0)
    clips = {
        f"set__kind{i % 5}__clip_{i}": np.stack([ruled_pose(rng)[0].reshape(66) for _ in range(6)]).astype(
            np.float16
        )
        for i in range(40)
    }
    path = tmp_path_factory.mktemp("motion") / "poses.npz"
    np.savez(path, **clips)
    return path


@pytest.fixture(scope="session")
def backgrounds(tmp_path_factory):
    """Twenty photographs and four panoramas, the latter dark but for one bright spot to the left of the middle."""
    folder = tmp_path_factory.mktemp("backgrounds")
    rng = np.random.default_rng(1)
    for i in range(20):
        cv2.imwrite(str(folder / f"photo{i}.png"), rng.integers(0, 255, (90, 120, 3), np.uint8))
    for i in range(8):
        sky = rng.uniform(0.1, 0.3, (32, 64, 3)).astype(np.float32)
        sky[8, 16] = 500.0
        cv2.imwrite(str(folder / f"sky{i}.hdr"), sky)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def body():
    return load_body()


@pytest.fixture(scope="session")
def world(body, motion_file, backgrounds):
    return World(body, motion_file, backgrounds)


@pytest.fixture(scope="session")
def held_out(body, motion_file, backgrounds):
    return World(body, motion_file, backgrounds, split="held-out")


@pytest.fixture(scope="session")
def pictures(world):
    """The first 24 pictures of seed 3."""
    return [draw(np.random.default_rng([3, i]), world) for i in range(24)]
