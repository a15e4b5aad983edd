# SPDX-License-Identifier: Apache-2.0
"""What files say of the lens: the focal length in 35 mm terms, in the tags of movies and in EXIF of pictures.

Standard library only. Phones of Apple write a QuickTime key of their own; of Android's and of action cameras' movies no
key is known that holds it. EXIF is TIFF inside JPEG, PNG, WebP and HEIF files: tag numbers are those of CIPA DC-008.
"""

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

KEYS = ("focal_length.35mm_equivalent", "focallengthin35mmfilm", "focallengthin35mmformat")
"""Ends of the names of movie tags, in small letters; the first is that of Apple, after com.apple.quicktime.camera."""
LEAST_MM, MOST_MM = 4.0, 2000.0
"""What lies beyond is a fault: phones have been seen to write -13, and EXIF says 0 for unknown."""
DIAGONAL_MM = 43.27
"""Of a frame of 35 mm film."""
_HEAD, _TAIL, _LONGEST = 1 << 20, 1 << 18, 1 << 26
_ORIENTATION, _EXIF, _FOCAL_35MM = 0x0112, 0x8769, 0xA405
_SHORT, _LONG = 3, 4
_TALL = 1.6


@dataclass(frozen=True)
class Exif:
    """The two facts that matter here."""

    orientation: int = 1
    """1 to 8, how the picture lies; 1 is upright."""
    focal_35mm: float | None = None
    """Millimetres, None where it is not told."""


def movie_focal(*metadata: Mapping[str, str]) -> float | None:
    """The focal length in 35 mm terms by the tags of a container and its tracks; None where none tells it."""
    for tags in metadata:
        for key, value in tags.items():
            number = re.match(r"\s*[-+]?\d*\.?\d+", str(value))
            if key.lower().endswith(KEYS) and number and (mm := believable(float(number[0]))):
                return mm
    return None


def track_focal(file: Path) -> float | None:
    """The same by the tags of a QuickTime file's tracks, where Apple's phones write them and FFmpeg does not look."""
    try:
        with file.open("rb") as f:
            moov = _movie_box(f)
    except (OSError, struct.error):
        return None
    for kind, trak in _boxes(moov):
        for inner, meta in _boxes(trak) if kind == b"trak" else ():
            if inner == b"meta" and (mm := movie_focal(_track_tags(meta))):
                return mm
    return None


def _movie_box(f) -> bytes:
    """What is in the box `moov` of an open file; empty where there is none, or it is too long for an index."""
    size = f.seek(0, 2)
    at = 0
    while at + 8 <= size:
        f.seek(at)
        head = f.read(16)
        length, kind = struct.unpack_from(">I4s", head)
        skip = 8
        if length == 1 and len(head) == 16:
            length, skip = struct.unpack_from(">Q", head, 8)[0], 16
        if length < skip:
            return b""
        if kind == b"moov":
            f.seek(at + skip)
            return f.read(min(length - skip, _LONGEST))
        at += length
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each box in `data`."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if length < 8:
            return
        yield kind, data[at + 8 : at + length]
        at += length


def _track_tags(meta: bytes) -> dict[str, str]:
    """Names and values of a `meta` box of keys; only texts and numbers."""
    # Outside QuickTime the box begins with its version.
    parts = dict(_boxes(meta if meta[4:8] == b"hdlr" else meta[4:]))
    names = [name.decode("utf-8", "replace") for _, name in _boxes(parts.get(b"keys", b"")[8:])]
    out = {}
    for number, item in _boxes(parts.get(b"ilst", b"")):
        value = dict(_boxes(item)).get(b"data", b"")
        which = int.from_bytes(number, "big") - 1
        if len(value) > 8 and 0 <= which < len(names):
            out[names[which]] = _value(int.from_bytes(value[:4], "big"), value[8:])
    return out


def _value(kind: int, payload: bytes) -> str:
    """A tag's value by its kind in QuickTime: text, numbers with and without sign, floats of two lengths."""
    if kind in (21, 22, 65, 66, 67, 74, 75, 76, 77, 78):
        return str(int.from_bytes(payload, "big", signed=kind in (21, 65, 66, 67, 74)))
    if (kind, len(payload)) in ((23, 4), (24, 8)):
        return str(struct.unpack(">f" if kind == 23 else ">d", payload)[0])
    return payload.decode("utf-8", "replace")


def believable(mm: float) -> float | None:
    """`mm` if a lens may have it, else None."""
    return mm if LEAST_MM <= mm <= MOST_MM else None


def read_exif(file: Path) -> Exif:
    """What the EXIF of a picture file says; nothing when there is none or it is damaged."""
    try:
        with file.open("rb") as f:
            data = f.read(_HEAD)
            if len(data) == _HEAD:
                size = f.seek(0, 2)
                f.seek(max(_HEAD, size - _TAIL))
                data += f.read()
        return _read_tiff(_tiff_in(data))
    except (OSError, struct.error, IndexError):
        return Exif()


def _tiff_in(data: bytes) -> bytes:
    """The TIFF structure of a file; empty where there is none."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        return data
    for mark, skip in ((b"Exif\0\0", 6), (b"eXIf", 4), (b"EXIF", 8)):
        at = data.find(mark)
        while at >= 0:
            inside = data[at + skip :]
            if inside[:4] in (b"II*\0", b"MM\0*"):
                return inside
            at = data.find(mark, at + 1)
    return b""


def _read_tiff(data: bytes) -> Exif:
    if not data:
        return Exif()
    order = "<" if data[:2] == b"II" else ">"
    tags = _tags(data, order, struct.unpack_from(order + "I", data, 4)[0])
    inner = _tags(data, order, tags[_EXIF]) if _EXIF in tags else {}
    orientation = tags.get(_ORIENTATION, 1)
    return Exif(orientation if 1 <= orientation <= 8 else 1, believable(float(inner.get(_FOCAL_35MM, 0))))


def _tags(data: bytes, order: str, at: int) -> dict[int, int]:
    """Whole numbers of a directory by their tag."""
    out = {}
    for k in range(struct.unpack_from(order + "H", data, at)[0]):
        where = at + 2 + 12 * k
        try:
            tag, kind, count = struct.unpack_from(order + "HHI", data, where)
            if count == 1 and kind in (_SHORT, _LONG):
                out[tag] = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), data, where + 8)[0]
        except struct.error:
            # Cut off: what was read before holds.
            break
    return out


def fov_from_35mm(focal_35mm: float, width: int, height: int) -> float:
    """Degrees that the larger side of a picture of `width` x `height` pixels spans.

    The equivalent is one of diagonals. A picture longer than 8:5 is taken for the full width of a 4:3 sensor, as in
    the movies of phones, of which the tag tells the sensor's diagonal.
    """
    longer, shorter = max(width, height), min(width, height)
    diagonal = 1.25 * longer if longer > _TALL * shorter else math.hypot(longer, shorter)
    return math.degrees(2 * math.atan(longer / 2 / (focal_35mm * diagonal / DIAGONAL_MM)))
