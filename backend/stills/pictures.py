"""Pictures to be looked at one by one: a file, a folder with all that is below it, or the frames of a movie.

Upright 8-bit RGB whatever the file holds: EXIF's orientation is applied, greys and palettes become RGB, 16 bits
become 8, and what is transparent lies on white, as a browser shows it.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np

from backend.errors import JobError
from blender_addon.shared.frames import MOVIE_SUFFIXES, PICTURE_SUFFIXES, Clip, ClipError, open_clip

SUFFIXES = (*PICTURE_SUFFIXES, ".jpe", ".jfif", ".ppm", ".pgm", ".pnm")
"""File names that a folder is searched for, in capitals too."""
_ORIENTATION = 0x112
"""TIFF's number of the tag that says how a picture is turned."""
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""What makes a picture upright, by the value of EXIF's orientation (EXIF 2.3, 4.6.4.A)."""
_T, _U = TypeVar("_T"), TypeVar("_U")


@dataclass(frozen=True)
class Picture:
    """One picture, or why it could not be read."""

    name: str
    """Path below the given folder with /, or the file's name; #000123 follows it for frame 123 of a movie."""
    image: np.ndarray | None
    """(H, W, 3) uint8 RGB, None where it could not be read."""
    time_s: float | None = None
    """Seconds from the beginning of a movie; None for other pictures."""
    problem: str | None = None
    """One sentence when there is no image."""


class Pictures:
    """Iterate as often as you like. `path`: what was opened; `names`: of all pictures in their order, None for a
    movie; `total`: how many there are, an estimate for a movie, or None; `clip`: the movie; `notices`: sentences
    for the user, complete when the iteration is."""

    def __init__(
        self, path: Path, files: dict[str, Path] | None, clip: Clip | None, skipped: int = 0
    ) -> None:
        self.path, self.clip, self._files = path, clip, files
        self.names = None if files is None else list(files)
        self.total = clip.frame_count if files is None else len(files)
        self._skipped = skipped

    @property
    def notices(self) -> list[str]:
        """See the class."""
        out = []
        if self._skipped:
            out.append(f"{self._skipped} file(s) in {self.path} are no pictures and were skipped.")
        if self.clip is not None and self.clip.damage:
            out.append(self.clip.damage)
        return out

    def __iter__(self) -> Iterator[Picture]:
        return self.only(None)

    def only(self, names: Collection[str] | None) -> Iterator[Picture]:
        """The pictures with these names (None: all). A movie is decoded up to the last of them."""
        if self._files is not None:
            wanted = self._files if names is None else {n: f for n, f in self._files.items() if n in names}
            yield from _ahead(lambda item: _picture(*item), wanted.items())
            return
        left = None if names is None else set(names)
        try:
            for frame in () if left == set() else self.clip:
                name = frame_name(self.path, frame.index)
                if left is None or name in left:
                    yield Picture(name, frame.image, frame.time_s)
                if left is not None:
                    left.discard(name)
                    if not left:
                        return
        except ClipError as error:
            raise JobError("bad_clip", str(error)) from error


def frame_name(path: Path, index: int) -> str:
    """`clip.mp4#000123`"""
    return f"{path.name}#{index:06d}"


def open_pictures(path: Path) -> Pictures:
    """Open a picture, a folder (searched to its depth, natural order) or a movie.

    Raises JobError "no_input" where there is nothing, "bad_picture" and "bad_clip" where one file was given and
    cannot be read.
    """
    # The reasons are said in our own words, per picture.
    cv2.setLogLevel(0)
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise JobError("no_input", f"There is no file or folder {path}: check the name.")
    except OSError as error:
        raise JobError("no_input", f"{path} cannot be opened: {error.strerror or error}.") from error
    suffix = path.suffix.lower()
    if suffix not in MOVIE_SUFFIXES:
        picture = _picture(path.name, path)
        if picture.image is not None:
            return Pictures(path, {path.name: path}, None)
        if suffix in SUFFIXES:
            raise JobError("bad_picture", f"{picture.problem[:-1]}: choose another file.")
    try:
        return Pictures(path, None, open_clip(path))
    except (ClipError, OSError) as error:
        if suffix not in MOVIE_SUFFIXES:
            text = f"{path.name} is neither a picture nor a movie that can be read: choose another file."
            raise JobError("bad_picture", text) from error
        raise JobError("bad_clip", str(error)) from error


def _open_folder(folder: Path) -> Pictures:
    files, skipped = [], 0
    for file in folder.rglob("*"):
        inner = file.relative_to(folder)
        if any(part.startswith(".") for part in inner.parts) or not file.is_file():
            continue
        if file.suffix.lower() not in SUFFIXES:
            skipped += 1
        else:
            files.append((natural_key(inner.as_posix()), inner.as_posix(), file))
    if not files:
        text = f"The folder {folder} holds no pictures ({', '.join(SUFFIXES[:4])} …): choose another one."
        raise JobError("no_input", text)
    return Pictures(folder, {name: file for _, name, file in sorted(files)}, None, skipped)


def natural_key(name: str) -> tuple:
    """Sorts as people count: a2 before a10, capitals no matter, a folder's files together."""
    parts = [re.split(r"(\d+)", part.casefold()) for part in name.split("/")]
    return tuple(tuple(int(p) if i % 2 else p for i, p in enumerate(words)) for words in parts)


def _ahead(read: Callable[[_T], _U], items: Iterable[_T]) -> Iterator[_U]:
    """`map`, a few items ahead on threads of its own: decoding takes no time from a network on a GPU."""
    workers = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _picture(name: str, file: Path) -> Picture:
    try:
        return Picture(name, read_picture(file))
    except OSError as error:
        return Picture(name, None, problem=f"{name} cannot be opened ({error.strerror or error}).")
    except (ValueError, MemoryError) as error:
        return Picture(name, None, problem=f"{name} {str(error) or 'is too large for the memory'}.")


def read_picture(file: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright. Raises OSError, MemoryError, or ValueError whose text begins with a verb."""
    # On Windows cv2 opens no path with other than the system's letters.
    data = file.read_bytes()
    if not data:
        raise ValueError("is empty")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError("has more pixels than can be read") from error
    if image is None:
        return _by_ffmpeg(data, file.name)
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=1 / 257)
    if image.dtype != np.uint8:
        raise ValueError(f"holds {image.dtype} numbers, save it with 8 or 16 bits")
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    elif image.shape[2] == 4:
        image = _on_white(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA))
    else:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    turn = _TURNS.get(orientation(data))
    return image if turn is None else np.ascontiguousarray(turn(image))


def _on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _by_ffmpeg(data: bytes, name: str) -> np.ndarray:
    """Kinds that OpenCV does not know: TGA, AVIF, GIF (its first picture)."""
    stream = io.BytesIO(data)
    # TGA is known by its name alone.
    stream.name = name
    try:
        # A play list with a picture's name must open nothing else.
        with av.open(stream, options={"protocol_whitelist": "pipe"}) as container:
            for frame in container.decode(video=0):
                return _on_white(frame.to_ndarray(format="rgba"))
    except (OSError, ValueError, IndexError) as error:
        raise ValueError("is damaged or not a picture") from error
    raise ValueError("is damaged or not a picture")


def orientation(data: bytes) -> int:
    """EXIF's orientation (1..8) of a JPEG, PNG or WebP file; 1 where it says none, and for every other kind.

    OpenCV leaves it to us for these when it keeps depth and transparency, and always turns a TIFF itself.
    """
    block = b""
    if data[:2] == b"\xff\xd8":
        block = _jpeg_exif(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        block = _png_exif(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        block = _webp_exif(data)
    try:
        return _tiff_orientation(block.removeprefix(b"Exif\0\0"))
    except struct.error:
        return 1


def _jpeg_exif(data: bytes) -> bytes:
    place = 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        kind, size = struct.unpack_from(">BH", data, place + 1)
        body = data[place + 4 : place + 2 + size]
        if kind == 0xE1 and body.startswith(b"Exif\0\0"):
            return body
        # The picture itself begins.
        if kind == 0xDA or size < 2:
            break
        place += 2 + size
    return b""


def _png_exif(data: bytes) -> bytes:
    place = 8
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"eXIf":
            return data[place + 8 : place + 8 + size]
        place += 12 + size
    return b""


def _webp_exif(data: bytes) -> bytes:
    place = 12
    while place + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, place)
        if kind == b"EXIF":
            return data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return b""


def _tiff_orientation(block: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for k in range(count):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, start + 2 + 12 * k)
        if tag == _ORIENTATION and kind == 3:
            return value
    return 1
