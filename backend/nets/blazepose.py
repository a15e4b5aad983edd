"""BlazePose: 33 body landmarks, in the picture and in metres, from an upright square crop of one person.

What MediaPipe's graph does after the network is done here too: sigmoids, and the refinement of the picture
landmarks by the heat map (kernel 7, at least 0.5 confident).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backend.errors import JobError
from backend.nets.engine import create_engine
from backend.nets.graph import Graph, load_graph

ASSETS = Path(__file__).resolve().parents[1] / "assets"
VARIANTS = ("lite", "full", "heavy")
SIDE = 256
LANDMARKS = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "mouth_left",
    "mouth_right",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)
"""Names of the first 33 points. 33 is the middle of the hips, 34 says size and turn of the next crop: the
crop's half side is 1.25 times its distance from 33, and it lies above 33 in the person's own upright."""

_KERNEL = 7
_MIN_CONFIDENCE = 0.5


@dataclass
class BlazePoseOutput:
    """Float32 numpy arrays for B crops; 39 points: 33 landmarks, then the auxiliary ones (see LANDMARKS)."""

    points_crop: np.ndarray
    """(B, 39, 3): x and y in pixels of the 256 crop (0 = centre of the first pixel), and depth in the same pixels, 0
    at the middle of the hips, growing away from the camera."""
    visibility: np.ndarray
    """(B, 39) 0..1, how sure it is that the point is not hidden."""
    presence_points: np.ndarray
    """(B, 39) 0..1, how sure it is that the point is inside the picture."""
    peak: np.ndarray
    """(B, 39) 0..1, highest heat-map value around the point: how sure the refinement was."""
    world: np.ndarray
    """(B, 39, 3) metres about the middle of the hips, in axes of the crop camera: x to the crop's right, y down, z
    away from the camera (so `Crop.R.T` turns it into the original camera's axes)."""
    score: np.ndarray
    """(B,) 0..1, how sure it is that the crop holds a person."""


class PoseNet(nn.Module):
    """The network and what MediaPipe does after it, as one module."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """(B, 256, 256, 3) uint8 RGB -> the arrays of `BlazePoseOutput`, in its order."""
        # (B, H, W, 3) seen as NCHW is the channels-last layout already: no copy.
        x = pictures.permute(0, 3, 1, 2).float() / 255
        out = self.graph(x, ("landmarks", "score", "heatmap", "world"))
        points = out["landmarks"].reshape(-1, 39, 5)
        xy, peak = refine(points[..., :2], out["heatmap"])
        place = torch.cat([xy, points[..., 2:3]], -1)
        visibility, presence = points[..., 3].sigmoid(), points[..., 4].sigmoid()
        return place, visibility, presence, peak, out["world"].reshape(-1, 39, 3), out["score"].reshape(-1)


def pose_net(variant: str) -> PoseNet:
    """The shipped network of one size. Raises JobError("bad_options") for a size that there is not."""
    if variant not in VARIANTS:
        raise JobError("bad_options", f"There is no BlazePose '{variant}': choose lite, full or heavy.")
    return PoseNet(load_graph(ASSETS / f"blazepose_{variant}.safetensors")).eval()


class BlazePose:
    """The landmark network of one size, ready to run; `engine`: see `nets.engine`."""

    def __init__(
        self, variant: str = "heavy", device: str | torch.device = "cpu", engine: str = "auto"
    ) -> None:
        self.engine = create_engine(f"blazepose_{variant}", pose_net(variant), device, engine)

    def run(self, images: np.ndarray) -> BlazePoseOutput:
        """`images`: (B, 256, 256, 3) uint8 RGB. ValueError for anything else."""
        if images.ndim != 4 or images.shape[1:] != (SIDE, SIDE, 3) or images.dtype != np.uint8:
            text = f"BlazePose takes crops of shape (B, 256, 256, 3) of bytes, not {images.shape} {images.dtype}."
            raise ValueError(text)
        return BlazePoseOutput(*(t.float().cpu().numpy() for t in self.engine.run(images)))


def refine(xy: Tensor, heatmap: Tensor, kernel: int = _KERNEL) -> tuple[Tensor, Tensor]:
    """Move points to the centre of mass of the heat map around them, where it is confident.

    `xy`: (B, P, 2) pixels of the crop; `heatmap`: (B, P, h, w) logits over the same crop. -> the moved points
    and the highest confidence (B, P) seen in each window. As MediaPipe's
    RefineLandmarksFromHeatmapCalculator: cells beyond the border count nothing, points outside stay.
    """
    B, P, h, w = heatmap.shape
    scale = xy.new_tensor([w / SIDE, h / SIDE])
    cell = (xy * scale).long()  # towards zero
    inside = ((cell >= 0) & (cell < cell.new_tensor([w, h]))).all(-1)
    step = torch.arange(kernel, device=xy.device) - (kernel - 1) // 2
    col = (cell[..., 0, None] + step).unsqueeze(-2).expand(B, P, kernel, kernel).reshape(B, P, -1)
    row = (cell[..., 1, None] + step).unsqueeze(-1).expand(B, P, kernel, kernel).reshape(B, P, -1)
    valid = (col >= 0) & (col < w) & (row >= 0) & (row < h)
    flat = row.clamp(0, h - 1) * w + col.clamp(0, w - 1)
    weight = heatmap.reshape(B, P, h * w).gather(-1, flat).sigmoid() * valid
    total = weight.sum(-1).clamp_min(1e-9)
    moved = torch.stack([(weight * col).sum(-1) / total, (weight * row).sum(-1) / total], -1) / scale
    peak = weight.amax(-1) * inside
    return torch.where((peak >= _MIN_CONFIDENCE)[..., None], moved, xy), peak
