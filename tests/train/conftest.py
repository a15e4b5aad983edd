"""A small folder of pictures and a small recipe: people as coloured dots, which is enough to learn something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from backend.body.kinematics import forward
from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.camera.pinhole import Camera
from backend.localizers.field.model import FieldConfig
from backend.train.config import Data, Optim, Real, Recipe, Run, Synthetic
from backend.train.streams.shards import write_shard

SMALL = FieldConfig(width=32, layers=1, blocks=1, frequencies=24, hidden=48, code=16, lift=32)
COUNT = 8


@pytest.fixture(scope="session")
def body():
    return load_body()


def make_people(body, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of a shard: people who face the camera at a few metres."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.15, (count, 55, 3)).astype(np.float32)
    pose[:, 0] = [np.pi, 0, 0]
    return {
        "K": np.tile(np.array([[240.0, 0, 128], [0, 240, 128], [0, 0, 1]]), (count, 1, 1)),
        "pose": pose,
        "betas": rng.normal(0, 0.5, (count, body.n_betas)).astype(np.float32),
        "expression": np.zeros((count, body.n_expressions), np.float32),
        "trans": np.stack(
            [rng.uniform(-0.2, 0.2, count), np.full(count, -0.35), rng.uniform(2.5, 3.5, count)], 1
        ),
    }


def places(body, people: dict[str, np.ndarray], points) -> np.ndarray:
    """(count, P, 3) metres, camera space."""
    args = [
        torch.from_numpy(np.asarray(people[k], np.float32)) for k in ("pose", "betas", "trans", "expression")
    ]
    return forward(body.to(), *args, points).points.numpy()


def paint(xy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(256, 256, 3) uint8: a dot of its own colour for each of (P, 2) pixels."""
    image = rng.integers(0, 60, (256, 256, 3), np.uint8)
    for i, p in enumerate(xy):
        colour = [int(c) for c in np.random.default_rng(i).integers(80, 255, 3)]
        cv2.circle(image, tuple(round(float(v)) for v in p), 7, colour, -1)
    return image


@pytest.fixture(scope="session")
def shards(body, tmp_path_factory) -> Path:
    """Rendered pictures."""
    folder = tmp_path_factory.mktemp("rendered")
    people, rng = make_people(body, COUNT), np.random.default_rng(1)
    marks = places(body, people, body_landmarks(body)[0])
    images = [paint(Camera(K, 256, 256).project(x), rng) for K, x in zip(people["K"], marks, strict=True)]
    write_shard(
        folder / "shard-000000.npz", images[: COUNT // 2], {k: v[: COUNT // 2] for k, v in people.items()}
    )
    write_shard(
        folder / "shard-000001.npz", images[COUNT // 2 :], {k: v[COUNT // 2 :] for k, v in people.items()}
    )
    return folder


@pytest.fixture(scope="session")
def real_shards(body, tmp_path_factory) -> Path:
    """Pictures with a teacher's landmarks; landmark 5 is never sure."""
    folder = tmp_path_factory.mktemp("real")
    people, rng = make_people(body, 4, seed=5), np.random.default_rng(2)
    x = places(body, people, body_landmarks(body)[0])
    xy = np.stack([Camera(K, 256, 256).project(p) for K, p in zip(people["K"], x, strict=True)])
    sure = np.full((4, 33), 0.9, np.float32)
    sure[:, 5] = 0.1
    rows = {"K": people["K"], "points2d": xy, "relative": x - x.mean(1, keepdims=True), "visibility": sure}
    write_shard(folder / "real_000.npz", [paint(p, rng) for p in xy], rows)
    return folder


@pytest.fixture
def recipe(shards) -> Recipe:
    """Rendered pictures only; quick."""
    return Recipe(
        model=SMALL,
        data=Data(points=80, synthetic=Synthetic(shards=(str(shards),))),
        optim=Optim(steps=6, batch=4, warmup=2, lr=2e-3),
        run=Run(workers=0, device="cpu", log=1, save=100, judge=100, pictures=100),
    )


@pytest.fixture
def mixed_recipe(recipe, real_shards) -> Recipe:
    """Half rendered, half real."""
    data = replace(
        recipe.data,
        synthetic=replace(recipe.data.synthetic, share=0.5),
        real=Real(share=0.5, shards=(str(real_shards),)),
    )
    return replace(recipe, data=data)
