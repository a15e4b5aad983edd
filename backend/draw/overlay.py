"""The overlay video: the bodies drawn over the footage, coloured by uncertainty, with a side view.

Green is sure (2 cm or better), red is a guess (15 cm or worse).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from backend.body.model import Body
from backend.camera.pinhole import Camera
from backend.draw.dots import Dots
from backend.draw.eyes import CameraEye, SideEye
from backend.draw.shaded import Shaded
from backend.errors import JobError
from backend.records import TrackMotion
from blender_addon.shared.frames import Frame

STYLES: dict[str, type[Shaded] | type[Dots]] = {"shaded": Shaded, "dots": Dots}
"""How people may be drawn."""
STYLE = "shaded"
"""How they are drawn unless something else is asked for."""
LONGEST = 1280
"""Pixels of the footage's longer side in the movie, at most: 720p stays as it is."""
_DIM = 0.75
"""How much of the footage's brightness is left, so that the bodies stand out."""
_PAPER, _INK = 24, (190, 190, 190)


def check_style(style: str) -> str:
    """`style` if there is such a one. Raises JobError("bad_options")."""
    if style not in STYLES:
        raise JobError("bad_options", f"The style of an overlay is {' or '.join(STYLES)}, not '{style}'.")
    return style


class OverlayPainter:
    """Paints the motions of a clip onto its frames; frames may be painted by several threads at the same time.

    `motions`: final TrackMotions of `body`, seen by `camera`; `style`: see `STYLES`.
    """

    def __init__(
        self, body: Body, camera: Camera, motions: Sequence[TrackMotion], style: str = STYLE
    ) -> None:
        self.body, self.motions = body, motions
        longest = max(camera.width, camera.height)
        self.scale, self._whole = min(1.0, LONGEST / longest), longest // LONGEST
        self.width, self.height = (
            max(2, round(v * self.scale) // 2 * 2) for v in (camera.width, camera.height)
        )
        self.side = self.height // 2 * 2 if self.height < self.width else int(self.height * 0.6) // 2 * 2
        # Pixel centres stay pixel centres.
        across, down = self.width / camera.width, self.height / camera.height
        K = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]]) @ camera.K
        self.camera = Camera(K, self.width, self.height)
        eyes = CameraEye(self.camera), SideEye(motions, self.side, self.height)
        self._style = STYLES[check_style(style)](body, motions, eyes)
        self._panel = np.full((self.height, self.side, 3), _PAPER, np.uint8)
        cv2.putText(self._panel, "side view", (12, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.6, _INK, 1, cv2.LINE_AA)

    def paint(self, frame: Frame) -> np.ndarray:
        """(height, width + side, 3) uint8 RGB."""
        canvas = np.empty((self.height, self.width + self.side, 3), np.uint8)
        picture, panel = canvas[:, : self.width], canvas[:, self.width :]
        cv2.convertScaleAbs(self._fitted(frame.image), picture, _DIM)
        panel[:] = self._panel
        self._style.paint((picture, panel), list(self._there(frame.index)))
        return canvas

    def _fitted(self, image: np.ndarray) -> np.ndarray:
        # Means of whole pixels are quick only where so many whole ones become one; the rest of the way is short.
        if self._whole > 1:
            high, wide = (v // self._whole for v in image.shape[:2])
            image = image[: high * self._whole, : wide * self._whole]
            image = cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA)
        if image.shape[:2] == (self.height, self.width):
            return image
        return cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def _there(self, index: int) -> Iterator[tuple[int, int]]:
        """Who is in frame `index`: (number of the motion, its row)."""
        for number, motion in enumerate(self.motions):
            row = int(np.searchsorted(motion.frames, index))
            if row < len(motion.frames) and motion.frames[row] == index:
                yield number, row
