"""Short films cut from the clips in tests/data, encoded and decoded as any other."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from people.pictures import frames

from backend.shots.cuts import signature
from blender_addon.shared.frames import open_clip

SIZE = (200, 320)


def look(
    name: str, count: int, at: tuple[float, float] = (0.5, 0.5), wide: float = 0.9, to: tuple | None = None
):
    """(count, h, w, 3) uint8: a window as wide as `wide` of the picture, its middle at `at` of the room that is left,
    moving on to `to`."""
    out = []
    for k, picture in enumerate(frames(name, min(count, 40))[i % 40] for i in range(count)):
        share = np.array(at) + (np.array(to or at) - at) * (k / max(count - 1, 1))
        h, w = picture.shape[:2]
        ww, hh = int(w * wide), int(w * wide * SIZE[1] / SIZE[0])
        x, y = int(share[0] * (w - ww)), int(share[1] * (h - hh))
        out.append(cv2.resize(picture[y : y + hh, x : x + ww], SIZE, interpolation=cv2.INTER_AREA))
    return np.stack(out)


def seen(pictures: np.ndarray, file: Path, fps: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """Signatures and times of a film, as they come out of its file."""
    with av.open(str(file), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"crf": "24", "preset": "veryfast"}
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
    with open_clip(file) as clip:
        read = [(signature(f.image), f.time_s) for f in clip]
    return np.stack([s for s, _ in read]), np.array([t for _, t in read])
