"""The frozen part of the field that sees: from the pixels of a crop to its features, as one module for an engine."""

from __future__ import annotations

from torch import Tensor, nn

from backend.localizers.field.model import FieldModel


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
