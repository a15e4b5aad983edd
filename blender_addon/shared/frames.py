# SPDX-License-Identifier: Apache-2.0
"""A movie file or an image sequence as upright RGB pictures with their true times.

One public road: `open_clip(path)` gives a `Clip`, iterating a clip gives `Frame`s. Needs numpy and PyAV only.
Pixel (0, 0) is the centre of the top left pixel of the picture *as a player shows it*: the display matrix of
phone videos and the pixel aspect ratio are already applied.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .told import movie_focal, read_exif, track_focal
from .upright import Upright

MOVIE_SUFFIXES = (
    ".mp4",
    ".mov",
    ".m4v",
    ".avi",
    ".mkv",
    ".webm",
    ".mts",
    ".m2ts",
    ".ts",
    ".mpg",
    ".wmv",
    ".ogv",
)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".tga")
DEFAULT_SEQUENCE_FPS = 24.0
"""Rate of an image sequence when the caller states none (Blender's own default)."""

_NUMBERED = re.compile(r"^(?P<head>.*?)(?P<number>\d+)(?P<tail>\D*)$")


class ClipError(Exception):
    """The clip cannot be read. The message is one sentence that says what to do."""


@dataclass(frozen=True)
class Frame:
    """One picture."""

    index: int
    """From 0, without gaps."""
    time_s: float
    """Seconds since the first picture."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB, C-contiguous."""


class Clip:
    """Pictures with times; use as a context manager and iterate as often as you like.

    `width`, `height`: pixels of the upright picture; `fps`: average rate; `duration_s`: seconds;
    `frame_count`: an estimate, None when the file does not say; `turned`: whether the file lies on its side;
    `focal_35mm`: focal length in 35 mm terms, millimetres, None when the file does not say;
    `damage`: after iterating, one sentence when pictures were missing, else None; `passed`: how many pictures the
    newest iteration has left behind, those before its start too.
    """

    path: Path
    name: str
    width: int
    height: int
    fps: float
    duration_s: float
    frame_count: int | None
    turned: bool
    focal_35mm: float | None = None
    damage: str | None
    passed: int = 0

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The pictures from index `start` on (earlier ones are decoded but not converted)."""
        with contextlib.closing(self.pieces(start)) as pieces:
            yield from (frame for frame in pieces if frame is not None)

    def pieces(self, start: int = 0) -> Iterator[Frame | None]:
        """`frames` for a caller that must not wait long: None wherever it may leave off for a while, such as between
        decoding a picture and converting it."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing stays open between iterations; here so that a clip can be used like a file."""

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def __enter__(self) -> "Clip":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def clip_facts(clip) -> dict:
    """What a job notes of its clip: `name`, `width`, `height`, `fps`, `frame_count`, `focal_35mm`, and `source`, where
    it lies (an absolute path, None when it lies nowhere), so that a later session finds it again. `clip`: an open
    `Clip`, or whatever has these attributes (`focal_35mm` may lack)."""
    path = getattr(clip, "path", None)
    names = ("name", "width", "height", "fps", "frame_count")
    source = None if path is None else str(Path(path).absolute())
    told = {"focal_35mm": getattr(clip, "focal_35mm", None), "source": source}
    return {name: getattr(clip, name) for name in names} | told


def open_clip(path: str | Path, fps: float | None = None) -> Clip:
    """Opens a movie, a folder of pictures, a pattern (`shot.####.png`, `shot.%04d.png`) or one picture.

    `fps` is the rate of an image sequence; movies carry their own times. Raises ClipError.
    """
    path = Path(path)
    pattern = re.search(r"#+|%0?\d*d", path.name)
    if pattern and not path.exists():
        return SequenceClip(path, _match_pattern(path, pattern), fps)
    if path.is_dir():
        return SequenceClip(path, _pictures_in(path), fps)
    if not path.exists():
        raise ClipError(f"There is no file {path}; check the name and the folder.")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return SequenceClip(path, _siblings(path), fps)
    return MovieClip(path)


class MovieClip(Clip):
    """A movie file, read from the beginning by PyAV."""

    def __init__(self, path: Path) -> None:
        self.path, self.name, self.damage = path, path.name, None
        container, stream = _open_movie(path)
        with container:
            first = next((f for f in _pictures(container, stream, []) if f is not None), None)
            if first is None:
                raise ClipError(f"{path.name} holds no picture that can be read; export the clip again.")
            self._upright = Upright(first, float(stream.sample_aspect_ratio or 1))
            self.width, self.height = self._upright.width, self._upright.height
            self.turned = self._upright.swap
            self.fps = float(stream.average_rate or stream.guessed_rate or 30.0)
            seconds = _seconds(stream.duration, stream.time_base) or _seconds(container.duration, 1e-6)
            self.frame_count = stream.frames or (round(seconds * self.fps) if seconds else None)
            self.duration_s = seconds or (self.frame_count or 0) / self.fps
            self.focal_35mm = movie_focal(container.metadata, stream.metadata) or track_focal(path)
            self._cut_off = _ends_early(path, stream)

    def pieces(self, start: int = 0) -> Iterator[Frame | None]:
        """See `Clip.pieces`. Times come from the file, so a variable frame rate stays true."""
        self.damage, self.passed = None, 0
        container, stream = _open_movie(self.path)
        count, broken, changed = 0, [], False
        origin, time = None, 0.0
        with container:
            for picture in _pictures(container, stream, broken):
                yield None
                if picture is None:
                    continue
                if not self._upright.fits(picture):
                    changed = True
                    break
                stamp = picture.time
                if origin is None:
                    origin = stamp
                elif stamp is None or origin is None or stamp - origin <= time:
                    # No usable time stamp (raw streams, joined files): one step of the average rate.
                    time += 1.0 / self.fps
                else:
                    time = stamp - origin
                frame = Frame(count, float(time), self._upright.apply(picture)) if count >= start else None
                self.passed = count = count + 1
                yield frame
        self.damage = self._describe_damage(count, len(broken), time, changed)

    def _describe_damage(self, count: int, broken: int, last_s: float, changed: bool) -> str | None:
        if changed:
            return f"The picture size of {self.name} changes after {count} frames; only these were used."
        end_s = last_s + 1.0 / self.fps
        short = self.duration_s - end_s > max(1.0, 0.1 * self.duration_s)
        if self._cut_off or short:
            return (
                f"{self.name} is cut off or damaged: its first {count} frames ({end_s:.1f} s of "
                f"{self.duration_s:.1f} s) were used, the rest is missing."
            )
        if broken:
            return f"{self.name} is damaged: {broken} of its pictures cannot be read and were left out."
        return None


class SequenceClip(Clip):
    """Numbered or alphabetically sorted pictures; a gap in the numbers is a gap in time."""

    def __init__(self, path: Path, files: list[tuple[int, Path]], fps: float | None) -> None:
        self.path, self.name, self.damage = path, path.name, None
        if fps is not None and not 0 < fps < 1e4:
            raise ClipError(f"A rate of {fps} frames/s cannot be used; give a number above 0.")
        self.fps = float(fps or DEFAULT_SEQUENCE_FPS)
        self.files = files
        try:
            first = _decode_picture(files[0][1])
        except (OSError, ValueError) as e:
            raise ClipError(f"{files[0][1].name} is not a picture that can be read; check the file.") from e
        exif = read_exif(files[0][1])
        self._upright, self.focal_35mm = Upright(first, lies=exif.orientation), exif.focal_35mm
        self.width, self.height = self._upright.width, self._upright.height
        self.turned = self._upright.swap
        self.frame_count = len(files)
        self.duration_s = (files[-1][0] - files[0][0] + 1) / self.fps

    def pieces(self, start: int = 0) -> Iterator[Frame | None]:
        """See `Clip.pieces`."""
        self.damage, self.passed = None, 0
        origin = self.files[0][0]
        for index, (number, file) in enumerate(self.files):
            if index < start:
                self.passed = index + 1
                yield None
                continue
            try:
                picture = _decode_picture(file)
            except (OSError, ValueError):
                self.damage = f"{file.name} cannot be read; only the {index} pictures before it were used."
                return
            yield None
            if not self._upright.fits(picture):
                self.damage = f"{file.name} has another size; only the {index} pictures before it were used."
                return
            frame = Frame(index, (number - origin) / self.fps, self._upright.apply(picture))
            self.passed = index + 1
            yield frame


def _open_movie(path: Path):
    """-> (container, stream); the stream decodes on FFmpeg's own threads."""
    import av

    try:
        # Only local files: a play list named .mp4 must not reach for the network.
        container = av.open(str(path), options={"protocol_whitelist": "file"})
    except PermissionError as e:
        raise ClipError(f"{path.name} may not be read by this user; change its permissions.") from e
    except (OSError, ValueError) as e:
        raise ClipError(_why_unreadable(path)) from e
    streams = [s for s in container.streams.video if not _is_cover_art(s)]
    if not streams:
        container.close()
        raise ClipError(f"{path.name} has no video track, only sound or data; choose a video.")
    stream = streams[0]
    stream.thread_type = "AUTO"
    return container, stream


def _is_cover_art(stream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _why_unreadable(path: Path) -> str:
    """One sentence on a file that FFmpeg cannot open."""
    with path.open("rb") as f:
        head = f.read(12)
    if not head:
        return f"{path.name} is empty; copy or export the video again."
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free"):
        return (
            f"{path.name} is incomplete: its index (moov) is missing, because recording or copying was "
            "cut off; copy it again or repair it."
        )
    return f"{path.name} is not a video that can be read; choose a video file such as .mp4 or .mov."


def _pictures(container, stream, broken: list) -> Iterator:
    """Decoded pictures, and None after each packet that gave none yet; each packet or picture that is damaged adds one
    item to `broken` instead."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (OSError, ValueError) as e:
            broken.append(e)
            packet = None
        try:
            # None at the end: takes out what the decoder still holds.
            pictures = stream.decode(packet)
        except EOFError:
            pictures = []
        except (OSError, ValueError) as e:
            broken.append(e)
            pictures = []
        for picture in pictures:
            if picture.is_corrupt:
                broken.append(picture.pts)
            else:
                yield picture
        if packet is None:
            return
        if not pictures:
            yield None


def _ends_early(path: Path, stream) -> bool:
    """True when the file's own index names bytes beyond its end: the copy was cut off."""
    size = path.stat().st_size
    entries = stream.index_entries
    return any(e.pos + e.size > size for e in entries) if entries is not None else False


def _seconds(duration, unit) -> float | None:
    return float(duration * unit) if duration else None


def _decode_picture(file: Path):
    """The one picture in an image file, as a PyAV frame. Raises OSError or ValueError."""
    import av

    # As an open file, so that "%" in a name is no pattern to FFmpeg.
    with file.open("rb") as f, av.open(f) as container:
        for picture in container.decode(video=0):
            return picture
    raise ValueError("no picture")


def _pictures_in(folder: Path) -> list[tuple[int, Path]]:
    """All pictures of a folder in order, as (number, file)."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES and p.name[0] != ".")
    if not files:
        raise ClipError(
            f"The folder {folder} holds no pictures (.png, .jpg …); choose another folder or a video."
        )
    groups: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for p in files:
        match = _NUMBERED.match(p.stem)
        if not match:
            return list(enumerate(files))
        groups.setdefault((match["head"], match["tail"] + p.suffix), []).append((int(match["number"]), p))
    if len(groups) > 1:
        heads = ", ".join(f"{head}#{tail}" for head, tail in sorted(groups)[:4])
        raise ClipError(
            f"The folder {folder} holds several sequences ({heads}); choose one by its first picture."
        )
    return sorted(next(iter(groups.values())))


def _match_pattern(path: Path, pattern: re.Match) -> list[tuple[int, Path]]:
    """Files named like `shot.####.png` or `shot.%04d.png`."""
    digits = len(pattern[0]) if pattern[0][0] == "#" else int(pattern[0].strip("%0d") or 1)
    name = path.name
    wanted = re.compile(
        re.escape(name[: pattern.start()]) + rf"(\d{{{digits},}})" + re.escape(name[pattern.end() :])
    )
    found = path.parent.iterdir() if path.parent.is_dir() else ()
    files = sorted((int(m[1]), p) for p in found if (m := wanted.fullmatch(p.name)))
    if not files:
        raise ClipError(f"No picture is named like {path}; check the folder and the number of #.")
    return files


def _siblings(path: Path) -> list[tuple[int, Path]]:
    """The sequence that one numbered picture belongs to, from that picture on (or only itself)."""
    match = _NUMBERED.match(path.stem)
    if not match:
        return [(0, path)]
    wanted = re.compile(re.escape(match["head"]) + r"(\d+)" + re.escape(match["tail"] + path.suffix))
    numbered = sorted((int(m[1]), p) for p in path.parent.iterdir() if (m := wanted.fullmatch(p.name)))
    return [(n, p) for n, p in numbered if n >= int(match["number"])]
