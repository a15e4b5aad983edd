"""Real pictures, real models: frames of the shipped clips, and the localizer and detector of this machine."""

from __future__ import annotations

import struct
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.body.load import load_body
from backend.localizers.choose import create_localizer
from backend.people.detect import PersonDetector
from blender_addon.shared.frames import open_clip

DATA = Path(__file__).resolve().parents[1] / "data"


def _frame(name: str, index: int) -> np.ndarray:
    with open_clip(DATA / name) as clip:
        return next(islice(clip, index, None)).image


@pytest.fixture(scope="session")
def person() -> np.ndarray:
    """(960, 540, 3): one man upright on a treadmill."""
    image = _frame("demo.mp4", 10).copy()
    # Over whom the clip's left edge cuts off.
    image[280:820, :190] = image[280:820, 190:191]
    return cv2.resize(image, (540, 960), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="session")
def pair() -> np.ndarray:
    """(720, 408, 3): two people."""
    return _frame("two_people.mp4", 3)


@pytest.fixture(scope="session")
def nobody() -> np.ndarray:
    """(300, 400, 3): a slope of grey."""
    return np.repeat(np.linspace(40, 200, 400, dtype=np.uint8)[None, :, None], 300, 0).repeat(3, 2)


@pytest.fixture(scope="session")
def body():
    return load_body()


@pytest.fixture(scope="session")
def localizer(body):
    return create_localizer("landmarks-lite", body)


@pytest.fixture(scope="session")
def detector():
    return PersonDetector("cpu")


@pytest.fixture(scope="session")
def write():
    """Writes (H, W, ...) RGB as the file's suffix says; `turned`: EXIF's orientation, JPEG only."""

    def write(path: Path, image: np.ndarray, turned: int | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        bgr = image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]
        data = cv2.imencode(path.suffix, np.ascontiguousarray(bgr), [cv2.IMWRITE_JPEG_QUALITY, 97])[
            1
        ].tobytes()
        if turned:
            exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, turned, 0, 0)
            data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
        path.write_bytes(data)
        return path

    return write
