"""The painted frames as a movie: H.264, with the footage's own timing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av

from backend.draw.overlay import OverlayPainter
from backend.files.whole import file_aside
from blender_addon.shared.frames import Frame

_TICKS = 90000
"""Per second: the clock of MPEG."""


def write_overlay(frames: Iterable[Frame], painter: OverlayPainter, out: Path, fps: float) -> Iterator[int]:
    """Encode the painted frames as H.264 with their own timing; yields the number of frames written.

    There is a whole file at the end or none; the folder is made if missing. Raises JobError("cannot_write").
    """
    with file_aside(out) as part, av.open(str(part), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = painter.width + painter.side, painter.height
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "23", "preset": "veryfast"}
        stream.codec_context.time_base = Fraction(1, _TICKS)
        for count, frame in enumerate(frames, 1):
            picture = av.VideoFrame.from_ndarray(painter.paint(frame), format="rgb24")
            picture.pts, picture.time_base = round(frame.time_s * _TICKS), Fraction(1, _TICKS)
            container.mux(stream.encode(picture))
            yield count
        container.mux(stream.encode())
