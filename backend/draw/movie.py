"""The painted frames as a movie: H.264, with the footage's own timing; painting and encoding at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeVar

import av
import cv2
import numpy as np

from backend.files.whole import file_aside
from backend.nets.hands import plain_opencv
from blender_addon.shared.frames import Frame
from blender_addon.shared.threads import usable_cores

_TICKS = 90000
"""Per second: the clock of MPEG."""
_MOST_WORKERS = 4
"""Threads that paint, at most: with more the encoder is what all wait for."""
_QUALITY = {"crf": "23", "preset": "veryfast", "x264-params": "subme=1", "threads": "2"}
"""Of the encoder. Motion looked for in less fine steps saves a third of its time and costs under 1 dB at the same size.
The threads are as many on every machine: another number gives another file."""
_BT601 = 6
"""FFmpeg's number for OpenCV's matrix between RGB and Y'CbCr; players guess another one for large pictures."""

T, R = TypeVar("T"), TypeVar("R")


class Painter(Protocol):
    """What paints frames; several threads may call it at the same time."""

    width: int
    """Pixels of the painted frame, without its side; even."""
    side: int
    """Pixels to the right of that; even."""
    height: int
    """Pixels; even."""

    def paint(self, frame: Frame) -> np.ndarray:
        """(height, width + side, 3) uint8 RGB."""
        ...


def write_overlay(
    frames: Iterable[Frame], painter: Painter, out: Path, fps: float, workers: int | None = None
) -> Iterator[int]:
    """Encode the painted frames as H.264 with their own timing; yields the number of frames written.

    `workers`: threads that paint, as many as there are cores unless given; the file is the same with any number.
    There is a whole file at the end or none; the folder is made if missing. Raises JobError("cannot_write").
    """
    workers = workers or min(usable_cores(), _MOST_WORKERS)
    painted = in_order(frames, lambda frame: _picture(frame, painter), workers)
    with plain_opencv(), file_aside(out) as part, av.open(str(part), "w") as container, closing(painted):
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = painter.width + painter.side, painter.height
        stream.pix_fmt = "yuv420p"
        stream.options = _QUALITY
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.colorspace = _BT601
        for count, picture in enumerate(painted, 1):
            container.mux(stream.encode(picture))
            yield count
        container.mux(stream.encode())


def in_order(things: Iterable[T], work: Callable[[T], R], workers: int) -> Iterator[R]:
    """`work` of each of `things`, by so many threads, in their order; no more are under way than keep these busy.

    When it is closed, or anything raises, no thread is left.
    """
    pool = ThreadPoolExecutor(workers, "painter")
    waiting: deque[Future[R]] = deque()
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _picture(frame: Frame, painter: Painter) -> av.VideoFrame:
    # OpenCV takes a third of the time that FFmpeg takes for it.
    planes = cv2.cvtColor(painter.paint(frame), cv2.COLOR_RGB2YUV_I420)
    picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    picture.pts, picture.time_base = round(frame.time_s * _TICKS), Fraction(1, _TICKS)
    return picture
