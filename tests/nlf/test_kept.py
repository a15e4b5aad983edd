"""Features in bytes: near enough, and known by the weights that made them."""

import numpy as np
import pytest
import torch
from torch import nn

from backend.localizers.kept import check, joined, packed, stamp, unpacked
from backend.records import Localization


@pytest.mark.parametrize("bits", [8, 16])
def test_each_channel_keeps_its_own_range(bits):
    torch.manual_seed(0)
    cells = torch.randn(3, 64, 8) * torch.logspace(-4, 2, 8) + torch.linspace(-5, 5, 8)
    cells[1, :, 3] = 2.5  # the same everywhere
    arrays = packed(cells, bits)
    assert arrays["cells"].itemsize == bits // 8 and arrays["cells"].shape == (3, 64, 8)
    off = (unpacked(arrays, "cpu") - cells).abs().amax((0, 1))
    spread = (cells.amax(1) - cells.amin(1)).amax(0)
    assert (off <= spread / (2**bits - 1) * 0.51 + 2e-5).all()


def test_other_weights_are_told_apart():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    mine = stamp(model)
    check({"made_by": np.full(2, mine)}, stamp(model))
    with torch.no_grad():
        model.weight[0, 0] += 1e-6
    with pytest.raises(ValueError, match="other weights"):
        check({"made_by": np.full(2, mine)}, stamp(model))
    with pytest.raises(KeyError):
        check({}, mine)


def test_parts_are_joined_with_their_features():
    def part(n: int) -> Localization:
        zeros = np.full((n, 4, 3), n, np.float32)
        return Localization(
            zeros, zeros[..., :2], zeros[..., 0], zeros[:, 0, 0], None, {"a": np.full((n, 5), n)}
        )

    both = joined([part(2), part(1)])
    assert both.points3d.shape == (3, 4, 3) and both.anchors2d is None
    np.testing.assert_array_equal(both.features["a"][:, 0], [2, 2, 1])
