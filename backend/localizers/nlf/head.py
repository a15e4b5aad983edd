"""The heat-map head: features of a crop and weights of points -> 2D, relative 3D and uncertainty of every point.

Ten maps a point: 0 uncertainty, 1 metric xy, 2-9 depth slices of one 2.5D heat-map (docs/nlf.md 5.1). Points travel
in chunks, so that the maps of thousands of points never exist at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from backend.localizers.nlf.pointnetwork import FEATURES, PointNetwork
from backend.nets.efficientnet import OUT_CHANNELS, norm
from backend.nets.heatmaps import CHANNELS, HeadOutput, decode_heatmaps, to_metres, to_pixels

# 512 points of 12 x 12 maps and 8 images are 24 MB of logits: small beside the backbone's maps, and large enough
# for the matrix product to run at full speed.
CHUNK = 512


@dataclass(frozen=True)
class PreparedPoints:
    """P canonical points pushed through the point network: all that a frame needs of them."""

    points: Tensor
    """(P, 3) metres."""
    weights: Tensor
    """(P, 10, 512) of the maps."""
    biases: Tensor
    """(P, 10) of the maps."""
    mirrored_weights: Tensor | None = None
    """The same for the points mirrored in x, by which a mirrored picture is read (docs/nlf.md 4.4, 14.12); None if not
    asked for."""
    mirrored_biases: Tensor | None = None
    """See `mirrored_weights`."""

    def __len__(self) -> int:
        return len(self.points)

    def to(self, device: torch.device | str) -> PreparedPoints:
        """The same on another device."""
        tensors = (getattr(self, f.name) for f in fields(self))
        return PreparedPoints(*(None if t is None else t.to(device) for t in tensors))

    def as_official(self) -> dict[str, Tensor]:
        """With the keys of the official `get_weights_for_canonical_points`."""
        out = {"w_tensor": self.weights, "b_tensor": self.biases}
        if self.mirrored_weights is not None:
            out |= {"w_tensor_flipped": self.mirrored_weights, "b_tensor_flipped": self.mirrored_biases}
        return out


class LocalizerHead(nn.Module):
    """Linking layer and field. `side`: pixels of the crop. Names as in the official state dict."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        self.weight_field = PointNetwork()
        self.layer = nn.Sequential(
            nn.Conv2d(OUT_CHANNELS, FEATURES, 1, bias=False), norm(FEATURES), nn.SiLU(inplace=True)
        )

    def forward(
        self, features: Tensor, weights: Tensor, biases: Tensor, chunk: int | None = CHUNK
    ) -> HeadOutput:
        """Points by their weights. `features`: (B, 1280, h, w).

        `weights`, `biases`: (P, 10, 512), (P, 10) shared by all crops or (B, P, 10, 512), (B, P, 10), of any
        floating type. `chunk`: points at a time; None: all at once.
        """
        return self.decode(self.layer(features), weights, biases, chunk)

    def decode(
        self, linked: Tensor, weights: Tensor, biases: Tensor, chunk: int | None = CHUNK
    ) -> HeadOutput:
        """As `forward`, of the linking layer's output (B, 512, h, w).

        The product is in float32 at least, whatever `linked` is: steps of 16 bits in a logit are tenths of a pixel.
        """
        h, w = linked.shape[-2:]
        flat = linked.flatten(2)
        flat = flat.to(torch.promote_types(flat.dtype, torch.float32))

        def maps(start: int, stop: int) -> HeadOutput:
            matrix = weights[..., start:stop, :, :].flatten(-3, -2).to(flat.dtype)
            offset = biases[..., start:stop, :].flatten(-2).to(flat.dtype)[..., None]
            # The bias in the product itself: the maps are large beside what they are made of.
            logits = torch.baddbmm(offset, matrix.expand(len(flat), -1, -1), flat)
            return self._units(*decode_heatmaps(logits.unflatten(1, (-1, CHANNELS)).unflatten(-1, (h, w))))

        return _in_chunks(maps, weights.shape[-3], chunk)

    def logits(self, linked: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
        """Maps of all points at once, (B, P, 10, h, w): for looking at, not for thousands of points."""
        matrix, offset = weights.flatten(-3, -2).to(linked.dtype), biases.flatten(-2).to(linked.dtype)
        out = torch.matmul(matrix, linked.flatten(2)) + offset[..., None]
        return out.unflatten(1, (-1, CHANNELS)).unflatten(-1, linked.shape[-2:])

    def _units(self, uv: Tensor, xyz: Tensor, uncertainty: Tensor) -> HeadOutput:
        return HeadOutput(to_pixels(uv, self.side), to_metres(xyz, self.side), uncertainty)


def _in_chunks(maps: Callable[[int, int], HeadOutput], points: int, chunk: int | None) -> HeadOutput:
    step = max(points, 1) if chunk is None else chunk
    parts = [maps(i, min(i + step, points)) for i in range(0, max(points, 1), step)]
    if len(parts) == 1:
        return parts[0]
    return HeadOutput(
        torch.cat([p.coords2d for p in parts], 1),
        torch.cat([p.coords3d_rel for p in parts], 1),
        torch.cat([p.uncertainty for p in parts], 1),
    )
