"""Real people gathered from a film: their landmarks lie on them, and the stream reads what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.body.load import load_body
from backend.stills.pictures import open_pictures
from backend.train.gather import SIDE, gather
from backend.train.streams.augment import PLAIN
from backend.train.streams.framing import STILL
from backend.train.streams.shards import Shards
from backend.train.streams.teacher import ARRAYS, TeacherStream

pytestmark = pytest.mark.slow

FILM = Path(__file__).parents[1] / "data" / "demo.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("gathered")
    images = [p.image for p in open_pictures(FILM) if p.image is not None]
    assert gather(iter(images[:: max(1, len(images) // 3)][:3]), out, "film") >= 2
    return out


def test_landmarks_lie_on_the_person(folder):
    shards = Shards([folder], ARRAYS)
    for i in range(len(shards)):
        image, row = shards.row(i)
        assert image.shape == (SIDE, SIDE, 3)
        xy, sure = row["points2d"], row["visibility"] > 0.5
        assert sure.sum() > 15
        # The crop has room around the person.
        assert ((xy[sure] > 10) & (xy[sure] < SIDE - 10)).all()
        assert np.ptp(xy[sure], axis=0).max() > 0.4 * SIDE
        # The metric landmarks point where the pixels do: both are of one camera.
        flat = row["relative"][:, :2] - row["relative"][:, :2].mean(0)
        seen = xy - xy.mean(0)
        cosine = (flat * seen).sum() / np.linalg.norm(flat) / np.linalg.norm(seen)
        assert cosine > 0.9


def test_stream_of_what_was_gathered(folder):
    stream = TeacherStream([str(folder)], load_body(), shake=STILL, looks=PLAIN)
    batch = stream.batch(0, 4)
    inside = ((batch.points2d > 0) & (batch.points2d < 255)).all(-1)
    assert (inside | ~batch.valid2d).float().mean() > 0.95
    assert batch.points.shape == (33, 3)
    assert batch.root == -1
