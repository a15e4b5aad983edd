"""The overlay of a clip of several shots: each is painted as its own camera sees it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.body.model import Body
from backend.camera.pinhole import Camera
from backend.draw.overlay import STYLE, OverlayPainter
from backend.motion.incamera import camera_of
from backend.records import Shot, TrackMotion
from blender_addon.shared.frames import Frame


class ShotsPainter:
    """As `OverlayPainter`. `motions`: in camera space; `camera`: of frames that no shot of `shots` holds; of one that
    zooms, the lens of its first frame is taken."""

    def __init__(
        self,
        body: Body,
        camera: Camera,
        motions: Sequence[TrackMotion],
        shots: Sequence[Shot],
        style: str = STYLE,
    ) -> None:
        everybody = OverlayPainter(body, camera, motions, style)
        self.width, self.height, self.side = everybody.width, everybody.height, everybody.side
        self._painters = [(0, everybody)]
        for shot in shots:
            here = [m for m in motions if int(m.shot[0]) == shot.number]
            own = camera_of(shot)
            if here and (len(shots) > 1 or not np.allclose(own.K, camera.K, rtol=1e-5)):
                self._painters.append((int(shot.frames[0]), OverlayPainter(body, own, here, style)))
            elif len(shots) > 1:
                self._painters.append((int(shot.frames[0]), everybody))

    def paint(self, frame: Frame) -> np.ndarray:
        """See `OverlayPainter.paint`."""
        return next(p for first, p in reversed(self._painters) if frame.index >= first).paint(frame)


__all__ = ["ShotsPainter"]
