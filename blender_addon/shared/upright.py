# SPDX-License-Identifier: Apache-2.0
"""How a decoded picture lies, and its upright RGB array. Numpy and PyAV's frames only."""

import numpy as np

_TURNS = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}
"""The display matrix's a, b, c, d by the degrees that it turns a picture counterclockwise."""
_LIES = {2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1), 5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0),
         8: (0, -1, 1, 0)}  # fmt: skip
"""The same by orientation in EXIF."""


class Upright:
    """Turns a decoded picture into the upright RGB array; one per clip, fixed by the first picture.

    The display matrix maps (p, q) to (a p + c q, b p + d q) in pixels with x right and y down (ISO 14496-12);
    players obey it only in quarter turns and mirrors, so it is rounded to these.
    """

    def __init__(self, first, pixel_aspect: float = 1.0, lies: int = 1) -> None:
        """`lies`: orientation of a picture by its EXIF, 1 to 8."""
        a, b, c, d = _display(first, lies)
        self.swap = abs(c) > abs(a)
        self.flip_x = (c if self.swap else a) < 0
        self.flip_y = (b if self.swap else d) < 0
        self.source = (first.width, first.height)
        self.square = (max(1, round(first.width * pixel_aspect)), first.height)
        self.width, self.height = self.square[::-1] if self.swap else self.square

    def fits(self, picture) -> bool:
        return (picture.width, picture.height) == self.source

    def apply(self, picture) -> np.ndarray:
        """-> (H, W, 3) uint8 RGB, contiguous."""
        image = picture.to_ndarray(format="rgb24", width=self.square[0], height=self.square[1])
        image = image.swapaxes(0, 1) if self.swap else image
        image = image[:, ::-1] if self.flip_x else image
        image = image[::-1] if self.flip_y else image
        return np.ascontiguousarray(image)


def _display(picture, lies: int) -> tuple[int, int, int, int]:
    """a, b, c, d of the display matrix of a decoded picture."""
    try:
        matrix = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV gives up on all side data where one kind is new to it: EXIF, and the views of stereoscopic movies.
        return _LIES[lies] if lies in _LIES else _TURNS[round(picture.rotation / 90) * 90 % 360]
    if not matrix:
        return 1, 0, 0, 1
    a, b, c, d = np.frombuffer(matrix, np.int32)[[0, 1, 3, 4]].tolist()
    return a, b, c, d
