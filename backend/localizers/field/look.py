"""The two frozen parts of the field as modules for an engine: what sees a crop, and what finds points in it."""

from __future__ import annotations

from torch import Tensor, nn

from backend.localizers.field.model import FieldFeatures, FieldModel, FieldPoints


class FieldLook(nn.Module):
    """What `model` sees in a crop; what is looked for in it comes later, see `FieldModel.heads`."""

    def __init__(self, model: FieldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """(B, 256, 256, 3) uint8 RGB -> the tensors of `FieldFeatures`, in its order."""
        # (B, H, W, 3) seen as NCHW is the channels-last layout already: no copy.
        found = self.model.features(self.model.look(pictures.permute(0, 3, 1, 2).float() / 255))
        return found.cells, found.code, found.landmarks, found.score, found.frame


class FieldHeads(nn.Module):
    """Where prepared points are in one crop, see `FieldModel.heads`."""

    def __init__(self, model: FieldModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, cells: Tensor, code: Tensor, frame: Tensor, weights: Tensor, biases: Tensor, places: Tensor
    ) -> tuple[Tensor, ...]:
        """`cells`, `code`, `frame` of `FieldFeatures` with B = 1, the rest of `FieldPoints` -> the tensors of
        `HeadOutput`, in its order."""
        # Neither the landmarks and the score nor the points' own places are asked for there.
        features = FieldFeatures(cells, code, code, code, frame)
        found = self.model.read(features, FieldPoints(places, weights, biases, places))
        return found.coords2d, found.coords3d_rel, found.uncertainty
