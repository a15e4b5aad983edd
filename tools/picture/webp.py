"""Frames into an animated WebP that starts over for ever."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

QUALITY = 95
"""Of 100. With less, the encoder leaves blocks of the picture before where the dark ground has changed a little."""


def write_webp(pictures: Iterable[np.ndarray], out: Path, fps: int, quality: int = QUALITY) -> None:
    """Write (height, width, 3) uint8 RGB `pictures`, all of one size, to `out`, `fps` of them a second."""
    with av.open(str(out), "w", format="webp", options={"loop": "0"}) as movie:
        stream = None
        for number, picture in enumerate(pictures):
            if stream is None:
                stream = movie.add_stream("libwebp_anim", rate=fps)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "bgra"
                stream.options = {"quality": str(quality), "compression_level": "6", "preset": "picture"}
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24").reformat(format="bgra")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            movie.mux(stream.encode(frame))
        movie.mux(stream.encode())
