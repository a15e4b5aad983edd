"""Reports of a training: a line of JSON for every entry, TensorBoard scalars, and pictures to look at."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import torch

from backend.localizers.field.model import FieldModel
from backend.train.streams.batch import Batch

LOG = "log.jsonl"
_TILES = 8


class Board:
    """Writes into `folder`. Without the package tensorboard there are the log and the pictures alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "board"))
        except ImportError:
            self._writer = None
        self._log = (folder / LOG).open("a", encoding="utf-8")

    @property
    def complete(self) -> bool:
        """Whether TensorBoard gets its share."""
        return self._writer is not None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of `step`."""
        rounded = {k: float(f"{v:.6g}") for k, v in values.items()}
        self._log.write(json.dumps({"step": step, "time": round(time.time(), 1), **rounded}) + "\n")
        self._log.flush()
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """(H, W, 3) uint8 RGB."""
        if self._writer:
            self._writer.add_image(name, image, step, dataformats="HWC")
        cv2.imwrite(str(self.folder / f"{name}.jpg"), image[..., ::-1])

    def close(self) -> None:
        """Write what is left."""
        self._log.close()
        if self._writer:
            self._writer.close()

    def __enter__(self) -> Board:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@torch.no_grad()
def picture_grid(model: FieldModel, batch: Batch) -> np.ndarray:
    """The first pictures of a batch: as they are, with what is true (green) and what is found (by depth), and the
    found points from the side. (3 x 256, n x 256, 3) uint8."""
    n = min(_TILES, len(batch))
    device = next(model.parameters()).device
    out = model(
        batch.images[:n].to(device).float() / 255, batch.points.to(device), batch.mirrored[:n].to(device)
    )
    found, rel = out.coords2d.cpu().numpy(), out.coords3d_rel.cpu().numpy()
    columns = []
    for i in range(n):
        image = np.ascontiguousarray(batch.images[i].permute(1, 2, 0).numpy())
        drawn, side = image.copy(), np.full_like(image, 32)
        x = rel[i] - rel[i].mean(0)
        shade = np.clip((x[:, 2] + 0.6) / 1.2 * 255, 0, 255).astype(np.uint8)
        colours = cv2.applyColorMap(shade, cv2.COLORMAP_JET)[:, 0, ::-1]
        for p in np.flatnonzero(batch.valid2d[i].numpy()):
            _dot(drawn, batch.points2d[i, p].numpy(), (0, 255, 0))
        for p in range(len(x)):
            _dot(drawn, found[i, p], colours[p].tolist())
            _dot(side, 128 + 110 * np.array([x[p, 2], x[p, 1]]), colours[p].tolist())
        columns.append(np.concatenate([image, drawn, side]))
    return np.concatenate(columns, 1)


def _dot(image: np.ndarray, xy: np.ndarray, colour) -> None:
    if np.isfinite(xy).all() and (np.abs(xy) < 4096).all():
        cv2.circle(image, tuple(round(float(v)) for v in xy), 1, colour, -1)
