"""BlazePose as a whole: what MediaPipe's graph does after the network, and the room's public call."""

import numpy as np
import pytest
import torch

from backend.errors import JobError
from backend.nets.blazepose import LANDMARKS, BlazePose, refine

from . import oracle


@pytest.fixture(scope="module")
def crops():
    with np.load(oracle.GOLDEN) as golden:
        return golden["crops"]


@pytest.fixture(scope="module")
def net():
    return BlazePose("lite")


def slow_refine(xy, heat, kernel=7):
    """The same in plain loops, from the description of MediaPipe's calculator."""
    P, h, w = heat.shape
    out = xy.copy()
    for p in range(P):
        col, row = int(xy[p, 0] / 256 * w), int(xy[p, 1] / 256 * h)
        if not (0 <= col < w and 0 <= row < h):
            continue
        total = sx = sy = best = 0.0
        for r in range(max(0, row - kernel // 2), min(h, row + kernel // 2 + 1)):
            for c in range(max(0, col - kernel // 2), min(w, col + kernel // 2 + 1)):
                v = 1 / (1 + np.exp(-float(heat[p, r, c])))
                total, sx, sy, best = total + v, sx + c * v, sy + r * v, max(best, v)
        if best >= 0.5:
            out[p] = sx / total / w * 256, sy / total / h * 256
    return out


def test_refinement_is_mediapipes():
    rng = np.random.default_rng(3)
    heat = rng.normal(-4, 3, (2, 39, 64, 64)).astype(np.float32)
    heat[:, ::3] -= 20  # not confident: these points stay
    xy = rng.uniform(-20, 276, (2, 39, 2)).astype(np.float32)
    got, peak = refine(torch.from_numpy(xy), torch.from_numpy(heat))
    for b in range(2):
        np.testing.assert_allclose(got[b].numpy(), slow_refine(xy[b], heat[b]), atol=2e-3)
    assert torch.equal(got[:, ::3], torch.from_numpy(xy)[:, ::3])
    assert ((peak >= 0) & (peak <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["lite", "full", "heavy"])
def test_finds_the_person_upright(variant, crops):
    """On a real crop: head above shoulders above hips above ankles, sides not swapped in 3D, sensible metres."""
    out = BlazePose(variant).run(crops)
    at = {n: i for i, n in enumerate(LANDMARKS)}
    y = out.points_crop[0, :, 1]
    assert y[at["nose"]] < y[at["left_shoulder"]] < y[at["left_hip"]] < y[at["left_ankle"]]
    assert (out.score > 0.9).all()
    w = out.world[0]
    height = np.linalg.norm(w[at["nose"]] - (w[at["left_ankle"]] + w[at["right_ankle"]]) / 2)
    assert 1.2 < height < 1.9
    # He faces the camera: his left is on our right, and his nose is nearer than his ears.
    assert w[at["left_shoulder"], 0] > w[at["right_shoulder"], 0]
    assert w[at["nose"], 2] < w[at["left_ear"], 2]
    np.testing.assert_allclose((w[at["left_hip"]] + w[at["right_hip"]]) / 2, 0, atol=0.02)


def test_one_and_many(net, crops):
    a = net.run(crops)
    c = net.run(crops[1:])
    np.testing.assert_array_equal(a.world[1:], c.world)
    assert a.points_crop.shape == (2, 39, 3) and a.visibility.shape == (2, 39) and a.score.shape == (2,)


def test_empty_picture_holds_nobody(net):
    grey = np.full((1, 256, 256, 3), 127, np.uint8)
    assert net.run(grey).score[0] < 0.5


def test_wrong_input_is_refused(net):
    with pytest.raises(ValueError, match="256"):
        net.run(np.zeros((1, 224, 224, 3), np.uint8))
    with pytest.raises(ValueError, match="bytes"):
        net.run(np.zeros((1, 256, 256, 3), np.float32))
    with pytest.raises(JobError, match="choose lite, full or heavy"):
        BlazePose("huge")
