"""NLF's crop model: square crops and canonical points in, absolute 3D points with uncertainty out.

Backbone, heat-map head with its localizer field, absolute reconstruction, and the canonical positions of named
joints, which are learnt too. The state dict has the official names (docs/nlf.md 11); what the official one leaves out
(bounds, eigenvalues, the order of joints) goes through `load_constants`. Metres throughout; the reference's
absolute positions are in millimetres.
"""

from __future__ import annotations

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from backend.localizers.nlf.head import CHUNK, LocalizerHead, PreparedPoints
from backend.localizers.nlf.pointnetwork import FEATURES
from backend.nets.absolute import MAX_RAW_UNCERTAINTY, reconstruct
from backend.nets.efficientnet import SIZES, backbone
from backend.nets.engine import Runtime
from backend.nets.heatmaps import CHANNELS, HeadOutput

UNCERTAINTY_FACTOR = 3.0
"""From the raw uncertainty of models trained with `fix_uncert_factor` false to one sigma in metres."""
LEFTS, CENTERS = 360, 147
"""Joints of the official set that lie on the left (as many on the right), and in the middle."""
_FIELD = "heatmap_head.weight_field"
CONSTANTS = {
    "r_sqrt_eigva": f"{_FIELD}.r_sqrt_eigva",
    "mini": f"{_FIELD}.gps_net.mini",
    "maxi": f"{_FIELD}.gps_net.maxi",
    "center": f"{_FIELD}.gps_net.center",
    "canonical_locs_init": "canonical_locs_init",
    "inv_permutation": "inv_permutation",
    "canonical_delta_mask": "canonical_delta_mask",
}
"""Short name -> name in the model of every tensor that is not in the official state dict."""
_CACHED_SETS = 4
"""Prepared sets that are remembered; one of 8192 points in float32, mirrored too, is 340 MB."""


@dataclass(frozen=True)
class CropPrediction:
    """P points on B crops, in the camera space of each crop (a mirrored crop stays mirrored)."""

    points3d: Tensor
    """(B, P, 3) metres."""
    points2d: Tensor
    """(B, P, 2) pixels of the crop."""
    uncertainty: Tensor
    """(B, P) metres, final."""
    relative: HeadOutput
    """What the head said."""
    valid: Tensor
    """(B, P) bool, see `Reconstruction`."""
    mixed: Tensor
    """(B, P) bool, see `Reconstruction`."""
    translation: Tensor
    """(B, 3) metres, see `Reconstruction`."""


class CropModel(nn.Module):
    """NLF-S (256 px) or NLF-L (384 px). `fix_uncert_factor`: how the model was trained; False for released ones."""

    def __init__(
        self, size: str = "s", fix_uncert_factor: bool = False, lefts: int = LEFTS, centers: int = CENTERS
    ) -> None:
        super().__init__()
        self.size, self.side = size, SIZES[size].side
        self.fix_uncert_factor = fix_uncert_factor
        joints = 2 * lefts + centers
        self.canonical_lefts = nn.Parameter(torch.zeros(lefts, 3))
        self.canonical_centers = nn.Parameter(torch.zeros(centers, 2))
        self.backbone = backbone(size)
        self.heatmap_head = LocalizerHead(self.side)
        self.register_buffer("canonical_locs_init", torch.zeros(joints, 3), persistent=False)
        self.register_buffer("inv_permutation", torch.arange(joints), persistent=False)
        self.register_buffer("canonical_delta_mask", torch.ones(joints), persistent=False)
        self._prepared: OrderedDict[tuple, PreparedPoints] = OrderedDict()
        self.runtime: Runtime | None = None
        """What runs `link` in place of PyTorch, if anything."""

    def load_constants(self, constants: Mapping[str, Tensor]) -> None:
        """Set the tensors that the state dict does not hold; keys are those of CONSTANTS, all of them."""
        with torch.no_grad():
            for short, name in CONSTANTS.items():
                target, value = self.get_buffer(name), constants[short]
                if target.shape != value.shape:
                    raise ValueError(f"{short} is {tuple(value.shape)}, not {tuple(target.shape)}")
                target.copy_(value)

    def constants(self) -> dict[str, Tensor]:
        """Inverse of `load_constants`."""
        return {short: self.get_buffer(name) for short, name in CONSTANTS.items()}

    def set_precision(self, dtype: torch.dtype) -> CropModel:
        """Put backbone and linking layer into `dtype`; all that follows stays float32 (see `precision`)."""
        self.backbone.to(dtype)
        self.heatmap_head.layer.to(dtype)
        return self

    def canonical_locs(self) -> Tensor:
        """(J, 3) metres: where the named joints lie in canonical space; right ones are the left ones mirrored."""
        left = self.canonical_lefts
        right = mirror(left)
        center = torch.cat([torch.zeros_like(self.canonical_centers[:, :1]), self.canonical_centers], 1)
        delta = torch.cat([left, right, center])[self.inv_permutation]
        return delta * self.canonical_delta_mask[:, None] + self.canonical_locs_init

    @torch.no_grad()
    def prepare(
        self, points: Tensor, dtype: torch.dtype = torch.float32, mirrored: bool = True, chunk: int = CHUNK
    ) -> PreparedPoints:
        """Push (P, 3) canonical points through the field, once per point set: results are kept by content.

        `dtype`: of the weights kept, which the head multiplies by in float32; float16 is what official files hold.
        The cache knows when the field was trained or moved since. Worked out in float64 on the CPU, so that the
        weights are the same on every device, with any number of threads.
        """
        field = self.heatmap_head.weight_field
        points = points.detach().to("cpu", torch.float32)
        key = (_digest(points), tuple(points.shape), dtype, mirrored, _state(field))
        if key in self._prepared:
            self._prepared.move_to_end(key)
            return self._prepared[key]
        device = field.r_sqrt_eigva.device
        exact = copy.deepcopy(field).cpu().double()
        with torch.autocast("cpu", enabled=False):
            sets = [
                _weights(exact, p.double(), dtype, chunk)
                for p in ([points, mirror(points)] if mirrored else [points])
            ]
        prepared = PreparedPoints(points, *sets[0], *(sets[1] if mirrored else ())).to(device)
        self._prepared[key] = prepared
        while len(self._prepared) > _CACHED_SETS:
            self._prepared.popitem(last=False)
        return prepared

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in [0, 1] -> (B, 1280, S/32, S/32)."""
        return self.backbone(images)

    def forward_prepared(
        self, images: Tensor, K: Tensor, prepared: PreparedPoints, mirrored: Tensor | None = None
    ) -> CropPrediction:
        """Localize prepared points. `K`: (B, 3, 3); `mirrored`: (B,) bool, crops that show a mirrored picture."""
        return self.read(self.link(images), K, prepared, mirrored)

    def link(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 512, S/32, S/32): all that `read` needs of the crops."""
        if self.runtime is not None:
            rows = [self.runtime.call(image[None].numpy())[0] for image in images]
            return torch.from_numpy(np.concatenate(rows))
        return self.heatmap_head.layer(self.features(images))

    def read(
        self,
        linked: Tensor,
        K: Tensor,
        prepared: PreparedPoints,
        mirrored: Tensor | None = None,
        translation: Tensor | None = None,
    ) -> CropPrediction:
        """Localize prepared points in crops that went through `link`; `translation`: see `reconstruct`."""
        return self.absolute(self._read(linked, prepared, mirrored), K, translation)

    def forward_points(
        self, images: Tensor, K: Tensor, points: Tensor, chunk: int | None = None
    ) -> CropPrediction:
        """Localize (P, 3) canonical points shared by all crops, with gradients into the field."""
        weights, biases = self.heatmap_head.weight_field.weights(points)
        return self.absolute(self.heatmap_head(self.features(images), weights, biases, chunk), K)

    def forward_per_image(self, images: Tensor, points: Tensor) -> HeadOutput:
        """(B, P, 3) canonical points, other ones for every crop: the road of training, where the reconstruction
        has its own masks and mixes."""
        weights, biases = self.heatmap_head.weight_field.weights(points)
        return self.heatmap_head(self.features(images), weights, biases, chunk=None)

    def absolute(self, relative: HeadOutput, K: Tensor, translation: Tensor | None = None) -> CropPrediction:
        """Absolute reconstruction as at test time."""
        confident = relative.uncertainty < MAX_RAW_UNCERTAINTY
        K = K.to(relative.coords2d.dtype)
        r = reconstruct(
            relative.coords2d, relative.coords3d_rel, K, self.side, confident, translation=translation
        )
        factor = 1.0 if self.fix_uncert_factor else UNCERTAINTY_FACTOR
        sigma = relative.uncertainty * factor
        return CropPrediction(r.points3d, relative.coords2d, sigma, relative, r.valid, r.mixed, r.translation)

    def _read(self, linked: Tensor, prepared: PreparedPoints, mirrored: Tensor | None) -> HeadOutput:
        decode = self.heatmap_head.decode
        if mirrored is None or not bool(mirrored.any()):
            return decode(linked, prepared.weights, prepared.biases)
        if prepared.mirrored_weights is None or prepared.mirrored_biases is None:
            raise ValueError("these points were prepared without their mirror images")
        flipped = decode(linked[mirrored], prepared.mirrored_weights, prepared.mirrored_biases)
        if bool(mirrored.all()):
            return flipped
        plain = decode(linked[~mirrored], prepared.weights, prepared.biases)
        order = torch.cat([torch.nonzero(~mirrored), torch.nonzero(mirrored)]).squeeze(1).argsort()
        return HeadOutput(
            torch.cat([plain.coords2d, flipped.coords2d])[order],
            torch.cat([plain.coords3d_rel, flipped.coords3d_rel])[order],
            torch.cat([plain.uncertainty, flipped.uncertainty])[order],
        )


def mirror(points: Tensor) -> Tensor:
    """(…, 3) canonical points -> their mirror images, x -> -x."""
    return torch.cat([-points[..., :1], points[..., 1:]], -1)


def _weights(field: nn.Module, points: Tensor, dtype: torch.dtype, chunk: int) -> tuple[Tensor, Tensor]:
    weights = torch.empty(len(points), CHANNELS, FEATURES, dtype=dtype)
    biases = torch.empty(len(points), CHANNELS, dtype=dtype)
    for start in range(0, len(points), chunk):
        w, b = field.weights(points[start : start + chunk])
        weights[start : start + chunk], biases[start : start + chunk] = w, b
    return weights, biases


def _digest(points: Tensor) -> str:
    return hashlib.sha256(points.contiguous().cpu().numpy().tobytes()).hexdigest()


def _state(module: nn.Module) -> tuple:
    """Changes when a tensor of `module` is written to, replaced or moved (torch counts writes)."""
    tensors = [*module.parameters(), *module.buffers()]
    return tuple((t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors)


class CropLink(nn.Module):
    """`CropModel.link` as a module of its own, for an engine."""

    def __init__(self, model: CropModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """(1, 3, S, S) float32 -> (1, 512, S/32, S/32)."""
        return self.model.link(images)
