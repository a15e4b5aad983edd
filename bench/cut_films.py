"""Films with known cuts: real and rendered pictures behind a camera that pans, shakes, is dazzled and blocked.

Each film is a list of shots; a shot looks through a window that moves over one source. What must not be taken for a
cut happens inside of shots: flashes, lamps, whip pans, somebody before the lens, pictures shown twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from blender_addon.shared.frames import open_clip

SIZES = ((384, 216), (216, 384), (320, 240), (480, 270))
RATES = (6, 12, 15, 24, 25, 30, 50, 60, 120, 240)
_SIDE = 640


@dataclass(frozen=True)
class Source:
    """Pictures that a shot may show."""

    name: str
    fps: float
    pictures: np.ndarray
    """(n, H, W, 3) uint8 RGB; a single one stands still."""


@dataclass
class Film:
    """A film and what is true of it."""

    name: str
    fps: float
    pictures: list[np.ndarray]
    cuts: list[tuple[int, int]] = field(default_factory=list)
    """First and last frame at which each cut may be said to be: one frame for a hard cut."""
    kinds: list[str] = field(default_factory=list)
    """Of each cut."""
    events: list[tuple[str, int, int]] = field(default_factory=list)
    """What is no cut: kind, first and last frame."""


def real(files: Sequence[Path]) -> list[Source]:
    """Clips, every other picture, shrunk."""
    out = []
    for file in files:
        with open_clip(file) as clip:
            pictures = [_shrunk(f.image) for f in clip if f.index % 2 == 0]
            out.append(Source(file.stem, clip.fps / 2, np.stack(pictures)))
    return out


def rendered(seed: int, count: int) -> list[Source]:
    """Pictures of people in rooms, drawn anew from `seed`."""
    from backend.synth.shards import Recipe

    recipe = Recipe("", "", "train", seed, _SIDE, 1, "wide")
    world = recipe.world()
    return [Source(f"rendered {i}", 1.0, recipe.picture(world, i).image[None]) for i in range(count)]


def _shrunk(image: np.ndarray) -> np.ndarray:
    s = _SIDE / max(image.shape[:2])
    return cv2.resize(image, None, fx=s, fy=s, interpolation=cv2.INTER_AREA)


def film(rng: np.random.Generator, sources: Sequence[Source], name: str) -> Film:
    """A film of two to six shots at some rate and size."""
    width, height = SIZES[rng.integers(len(SIZES))]
    fps = float(RATES[rng.integers(len(RATES))])
    seconds = float(rng.uniform(4, 8)) if fps < 100 else float(rng.uniform(2.5, 4))
    shots = int(rng.integers(1, max(2, int(seconds / 0.9)) + 1))
    lengths = rng.dirichlet(np.full(shots, 4.0)) * (seconds - 0.6 * shots) + 0.6
    out = Film(name, fps, [])
    last: tuple[Source, np.ndarray] | None = None
    for length in lengths:
        n = max(3, round(length * fps))
        source = sources[rng.integers(len(sources))]
        window = _window(rng, source, width / height)
        kind = "hard"
        if last is not None:
            kind = str(rng.choice(["hard", "framing", "dissolve", "black"], p=[0.52, 0.28, 0.13, 0.07]))
            if kind == "framing":
                source = last[0]
                window = _other(rng, source, last[1], width / height)
            while kind != "framing" and source is last[0]:
                source = sources[rng.integers(len(sources))]
                window = _window(rng, source, width / height)
        shot, events, at_end = _shot(rng, source, window, n, fps, (width, height))
        _join(rng, out, shot, events, kind if last is not None else "first")
        last = source, at_end
    if rng.random() < 0.2:
        _twice(rng, out)
    noise = float(rng.uniform(0, 3))
    dim = float(rng.choice([1.0, 1.0, 1.0, 0.3]))
    out.pictures = [
        np.clip(p * dim + rng.normal(0, noise, p.shape), 0, 255).astype(np.uint8) for p in out.pictures
    ]
    return out


def _window(rng, source: Source, aspect: float) -> np.ndarray:
    """x, y of the middle and width of a window in a source, pixels."""
    h, w = source.pictures.shape[1:3]
    most = min(w, h * aspect)
    wide = most * rng.uniform(0.45, 0.95)
    x = rng.uniform(wide / 2, w - wide / 2)
    y = rng.uniform(wide / aspect / 2, h - wide / aspect / 2)
    return np.array([x, y, wide])


def _other(rng, source: Source, old: np.ndarray, aspect: float) -> np.ndarray:
    """A window over the same source that an editor would call another shot: at least 1.5 times nearer or farther."""
    while True:
        new = _window(rng, source, aspect)
        new[2] = min(
            new[2] * rng.uniform(0.4, 1.2),
            min(source.pictures.shape[2], source.pictures.shape[1] * aspect) * 0.98,
        )
        if abs(np.log(new[2] / old[2])) > np.log(1.5):
            return new


def _shot(rng, source: Source, window: np.ndarray, n: int, fps: float, size: tuple[int, int]):
    """Pictures of one shot, what happens in it, and the window at its end."""
    h, w = source.pictures.shape[1:3]
    aspect = size[0] / size[1]
    t = np.arange(n) / fps
    path = np.repeat(window[None], n, 0)
    events: list[tuple[str, int, int]] = []
    move = rng.choice(["still", "shake", "drift", "zoom", "whip"], p=[0.2, 0.25, 0.2, 0.1, 0.25])
    if move in ("shake", "drift", "zoom"):
        for f in rng.uniform(0.7, 6, 5):
            swing = rng.normal(0, 0.012 * window[2], 2)
            path[:, :2] += np.sin(2 * np.pi * f * t + rng.uniform(0, 6))[:, None] * swing
    if move == "drift":
        path[:, :2] += t[:, None] * rng.normal(0, 0.15 * window[2], 2)
    if move == "zoom":
        path[:, 2] *= np.exp(t * rng.uniform(-0.5, 0.5))
    if move == "whip":
        path[:, 2] = min(w, h * aspect) * rng.uniform(0.3, 0.5)
        wide = path[0, 2]
        ends = np.array([[wide / 2, wide / aspect / 2], [w - wide / 2, h - wide / aspect / 2]])
        axis = int(w - wide < h - wide / aspect)
        places = path[:2, :2].clip(ends[0], ends[1])
        places[:, 1 - axis] += rng.normal(0, 0.05, 2) * wide
        places[:, axis] = ends[::-1, axis] if rng.random() < 0.5 else ends[:, axis]
        # Pictures overlap by a half at least: what is faster than that no eye tells from a cut.
        least = (
            abs(places[1, axis] - places[0, axis])
            / (0.5 * (wide if axis == 0 else wide / aspect))
            * 1.5
            / fps
        )
        lasts = max(float(rng.uniform(0.15, 0.5)), least)
        # Not at the shot's very ends, where it would hide the cut.
        edge = 0.15 + 1 / fps
        if t[-1] < lasts + 2 * edge:
            places[1] = places[0] + (places[1] - places[0]) * (t[-1] / 4 / lasts)
            lasts = t[-1] / 2
            edge = t[-1] / 4
        start = float(rng.uniform(edge, t[-1] - lasts - edge + 1e-6))
        s = np.clip((t - start) / lasts, 0, 1)
        s = s * s * (3 - 2 * s)
        path[:, :2] = places[0] + s[:, None] * (places[1] - places[0])
        events.append(("whip", round(start * fps), round((start + lasts) * fps)))
    path[:, 2] = path[:, 2].clip(32, min(w, h * aspect))
    half = path[:, 2:] / 2 * [1, 1 / aspect]
    path[:, :2] = np.clip(path[:, :2], half, [w, h] - half)
    speed = np.abs(np.gradient(path[:, :2], axis=0)) if n > 1 else np.zeros((n, 2))
    began = int(rng.integers(len(source.pictures)))
    out = []
    for k in range(n):
        i = began + int(t[k] * source.fps)
        m = len(source.pictures)
        # Back and forth, so that a clip that ends makes no cut.
        i = i % (2 * m - 2) if m > 1 else 0
        picture = source.pictures[i if i < m else 2 * m - 2 - i]
        out.append(_look(picture, path[k], size, speed[k] * 0.5).astype(np.float32))
    events += _happenings(rng, out, t, fps)
    return out, events, path[-1]


def _look(picture: np.ndarray, window: np.ndarray, size, blur: np.ndarray) -> np.ndarray:
    """The picture through a window; `blur` (2,) pixels of the source over which the shutter smears."""
    s = size[0] / window[2]
    to = np.array([[s, 0, size[0] / 2 - s * window[0]], [0, s, size[1] / 2 - s * window[1]]])
    out = cv2.warpAffine(picture, to, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    kernel = tuple(int(1 + b * s) for b in blur)
    return cv2.blur(out, kernel) if max(kernel) > 1 else out


def _happenings(rng, out: list[np.ndarray], t: np.ndarray, fps: float) -> list[tuple[str, int, int]]:
    """Change the pictures of a shot in place by some of what is no cut."""
    n, events = len(out), []
    if n < 5:
        return events
    h, w = out[0].shape[:2]
    kind = rng.choice(
        ["none", "flash", "lightning", "lamp", "passer", "exposure"], p=[0.3, 0.2, 0.1, 0.15, 0.15, 0.1]
    )
    edge = min(n // 3, max(2, round(0.2 * fps)))
    at = int(rng.integers(edge, n - edge))
    if kind in ("flash", "lightning"):
        times = [t[at]] if kind == "flash" else t[at] + np.cumsum(rng.uniform(0.05, 0.2, 3))
        for when in times:
            first = min(n - 3, int(when * fps))
            last = min(n - 3, int((when + rng.uniform(0.01, 0.08)) * fps))
            bright = rng.uniform(1.5, 6)
            ramp = np.linspace(*rng.uniform(0.3, 1, 2), w)[None, :, None]
            for k in range(first, last + 1):
                out[k] = np.clip(out[k] * (1 + bright * ramp) + 60 * bright / 3 * ramp, 0, 255)
            events.append((kind, first, last))
    if kind == "lamp":
        gain = rng.uniform(0.25, 0.6) if rng.random() < 0.5 else rng.uniform(1.4, 2.2)
        colour = rng.uniform(0.8, 1.2, 3)
        ramp = np.linspace(*rng.uniform(0.7, 1.3, 2), w)[None, :, None]
        for k in range(at, n):
            out[k] = np.clip(out[k] * gain * ramp * colour, 0, 255)
        events.append((kind, at, at))
    if kind == "exposure":
        swing = 1 + 0.5 * np.sin(2 * np.pi * t * rng.uniform(0.2, 1.5))
        for k in range(n):
            out[k] = np.clip(out[k] * swing[k], 0, 255)
    if kind == "passer":
        lasts, wide = min(rng.uniform(0.3, 0.9), t[-1] - t[at]), rng.uniform(0.5, 1.3) * w
        colour = rng.uniform(20, 160, 3)
        cloth = colour + cv2.resize(rng.normal(0, 25, (12, 6, 3)), (w, h), interpolation=cv2.INTER_CUBIC)
        way = 1 if rng.random() < 0.5 else -1
        x = np.arange(w)[None, :] + 12 * np.sin(np.arange(h)[:, None] / h * 4)
        for k in range(at, n):
            s = (t[k] - t[at]) / lasts
            if s > 1:
                break
            middle = -wide / 2 + s * (w + wide)
            middle = middle if way > 0 else w - middle
            cover = np.clip((wide / 2 - np.abs(x - middle)) / (0.04 * w) + 0.5, 0, 1)[..., None]
            out[k] = out[k] * (1 - cover) + cloth * cover
            events[:] = [(str(kind), at, k)]
    return events


def _join(rng, film: Film, shot: list[np.ndarray], events, kind: str) -> None:
    """Put a shot behind the others."""
    old = film.pictures
    at = len(old)
    if kind == "dissolve":
        room = len(old) - (film.cuts[-1][1] if film.cuts else 0)
        n = min(round(rng.uniform(0.25, 1.0) * film.fps), len(shot) // 3, room // 3)
        if n >= 2:
            mixed = [old[-n + k] * (1 - (k + 1) / (n + 1)) + shot[k] * (k + 1) / (n + 1) for k in range(n)]
            old[-n:] = mixed
            shot, at = shot[n:], at - n
            film.cuts.append((at, at + n))
            film.kinds.append(kind)
            film.events += [(name, a + at, b + at) for name, a, b in events]
            old.extend(shot)
            return
        kind = "hard"
    if kind == "black":
        room = len(old) - (film.cuts[-1][1] if film.cuts else 0)
        n = max(1, min(round(rng.uniform(0.1, 0.4) * film.fps), len(shot) // 3, room // 3))
        for k in range(n):
            old[-n + k] = old[-n + k] * (1 - (k + 1) / n)
            shot[k] = shot[k] * (k / n)
        film.cuts.append((at - n, at + n))
        film.kinds.append(kind)
    elif kind != "first":
        film.cuts.append((at, at))
        film.kinds.append(kind)
    film.events += [(name, a + at, b + at) for name, a, b in events]
    old.extend(shot)


def _twice(rng, film: Film) -> None:
    """Show each picture two or three times, as a film does whose rate was raised."""
    times = int(rng.integers(2, 4))
    if rng.random() < 0.5:
        film.pictures = [p for p in film.pictures for _ in range(times)]
        film.cuts = [(a * times, b * times) for a, b in film.cuts]
        film.events = [(k, a * times, b * times) for k, a, b in film.events]
        film.fps *= times
        return
    film.pictures = [film.pictures[max(k // times * times, 0)] for k in range(len(film.pictures))]
    up = lambda k: -(-k // times) * times  # noqa: E731
    film.cuts = [(up(a), up(b)) for a, b in film.cuts]


def write(film: Film, file: Path, crf: int) -> None:
    """Encode a film as H.264."""
    h, w = film.pictures[0].shape[:2]
    with av.open(str(file), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(film.fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p"
        stream.options = {"crf": str(crf), "preset": "veryfast"}
        for picture in film.pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode():
            out.mux(packet)
