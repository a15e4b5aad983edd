"""Where a film is cut: while it is seen, without a look ahead (`ChangeWatch`), and at the end (`find_cuts`).

A cut is where a picture shows another place than the one before, and the pictures to either side of it hold together.
What both sides of it share is no cut: a flash, a lamp, somebody who passes before the lens. Where many pictures in a
row have nothing in common the camera is swung round.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from backend.shots.signature import Evened, evened, grey, near, signature, unmoved

__all__ = ["ChangeWatch", "find_cuts", "signature"]

# All numbers of this file were chosen on generated films (bench/cut_films.py) of seeds 100 and up.
_SAME = 0.78
"""Likeness (see `near`) of two pictures that surely show one place."""
_SIDES, _LESS = (0.34, 0.77), 0.43
"""A cut's two pictures are less alike than this: shares of how alike the pictures to either side of it are, the lower
likeness and the higher, less a number. A logistic fit."""
_SUDDEN, _DROP = 0.6, 0.2
"""Likeness of pictures while a film is seen, and how much less it is than before, for a sudden change."""
_BLANK = 2.0
"""Standard deviation in grey levels below which a picture shows nothing: black, or dazzled."""
_WHITE, _DAZZLED, _DAZZLED_S = 250, 0.8, 0.3
"""Grey level of what is overexposed, the part of a picture that is in a flash, and the seconds that one may last."""
_REPEAT = 0.35
"""Mean difference in grey levels between a picture and the same picture shown once more."""
_ACROSS_S = (0.05, 0.12, 0.25)
"""How far to either side of a cut, in seconds, pictures of one place are looked for."""
_MIXES_S = (0.1, 0.2, 0.35, 0.55, 0.8)
"""Half lengths of dissolves that are looked for, seconds."""
_MIXED = 0.35
"""What a mixture of two pictures may leave unexplained, of the difference between these."""
_BOTH, _BOTH_MORE = 0.52, 0.4
"""Likeness of a mixture to each of its two pictures; and of both together, more than twice that of the two."""
_STAYED = 0.8
"""Likeness without any displacement of pictures that no dissolve lies between."""
_MOST = 25
"""Pictures of a dissolve that are looked at."""
_HELD_S = 0.2
"""How far to either side of a hard cut, in seconds, the background is looked at."""
_APART_S = 0.125
"""Nobody sees a shot that is shorter than this: cuts closer to each other are one, the one that changes more."""
_LONGEST_MIX_S = 1.0
"""Dissolves closer to each other than this are one."""


class ChangeWatch:
    """Says while a film is seen where people must be looked for anew. It knows nothing of what comes, so a flash that
    leaves something to see may count."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._usual = 1.0
        self._last_s = -np.inf

    def see(self, signature: np.ndarray, time_s: float) -> bool:
        """Whether this picture shows another place than the last that showed anything."""
        flash = (signature >= _WHITE).mean() > _DAZZLED and time_s - self._last_s <= _DAZZLED_S
        if _is_blank(signature) or flash:
            return False
        last, self._last, self._last_s = self._last, signature.copy(), time_s
        if last is None:
            return False
        like = near(evened(last), evened(signature))
        sudden = like < _SUDDEN and like < self._usual - _DROP
        # While the camera is swung round every picture is another one: once is enough.
        self._usual = 1.0 if sudden else like
        return sudden

    def memory(self) -> dict[str, np.ndarray]:
        """What `recall` needs."""
        if self._last is None:
            return {}
        return {
            "signature": self._last,
            "usual": np.float64(self._usual),
            "last_s": np.float64(self._last_s),
        }

    def recall(self, memory: dict[str, np.ndarray]) -> None:
        """Go on where a watch with this memory stood."""
        if "signature" in memory:
            self._last, self._usual = np.asarray(memory["signature"]), float(memory["usual"])
            self._last_s = float(memory.get("last_s", -np.inf))


def find_cuts(
    signatures: np.ndarray,
    times: np.ndarray,
    goes_on: Callable[[int, int, bool], bool] = lambda i, j, moving: False,
) -> np.ndarray:
    """(k,) int64 in rising order, never 0: the first frame of each new shot. `signatures` (n, SIZE) uint8 of all frames
    of a clip, `times` (n,) seconds; `goes_on`: whether features of the background are followed from one frame to
    another, and, if asked, moved meanwhile (`backend.camera.lasting`): there was no cut. A dissolve counts once, in its
    middle, a fade through black where it gets light."""
    kept = _shown(signatures)
    if len(kept) < 2:
        return np.zeros(0, np.int64)
    all_times = np.asarray(times, np.float64)
    film = _Film(signatures[kept], all_times[kept])
    hard: list[int] = []
    for k in range(1, len(kept)):
        if not film.is_cut(k):
            continue
        if hard and film.times[k] - film.times[hard[-1]] < _APART_S:
            hard[-1] = min(hard[-1], k, key=lambda c: film.like(c - 1, c))
        else:
            hard.append(k)
    soft = _dissolves(film, hard)
    # What two pictures share stays where it is while one grows out of the other; a camera that walks looks like that.
    cuts = [(k, _HELD_S, False) for k in hard] + [(k, half, True) for k, half in soft]
    out = []
    for k, half, mixed in sorted(cuts):
        i, j = _frames_at(all_times, film.times[k] + np.array([-half, half]))
        if not goes_on(int(i), int(j), mixed):
            out.append(kept[k])
    return np.array(out, np.int64)


def _frames_at(times: np.ndarray, when: np.ndarray) -> np.ndarray:
    """(k,) the frames that are shown at times (k,)."""
    return np.clip(np.searchsorted(times, when + 1e-6, "right") - 1, 0, len(times) - 1)


def _is_blank(signature: np.ndarray) -> bool:
    return float(grey(signature).std()) < _BLANK


def _shown(signatures: np.ndarray) -> np.ndarray:
    """Numbers of the frames that show something, and something else than the one before."""
    kept: list[int] = []
    for i, s in enumerate(signatures):
        if _is_blank(s):
            continue
        if kept and np.abs(s.astype(np.int16) - signatures[kept[-1]]).mean() < _REPEAT:
            continue
        kept.append(i)
    return np.array(kept, np.int64)


class _Film:
    """Signatures that can be compared with each other, each pair once."""

    def __init__(self, signatures: np.ndarray, times: np.ndarray) -> None:
        self.signatures, self.times = signatures, times
        self.like = lru_cache(maxsize=4096)(self._like)
        self._evened: list[Evened] = [evened(s) for s in signatures]

    def __len__(self) -> int:
        return len(self.times)

    def _like(self, i: int, j: int) -> float:
        return near(self._evened[i], self._evened[j])

    def has_stayed(self, i: int, j: int) -> bool:
        """Whether two frames show much the same, without a closer look."""
        return unmoved(self._evened[i], self._evened[j]) > _STAYED

    def at(self, time_s: float) -> int:
        """The frame that is shown at a time."""
        return int(_frames_at(self.times, np.array(time_s)))

    def is_cut(self, k: int) -> bool:
        """Whether a new shot begins with frame k."""
        like = self.like(k - 1, k)
        if like > _SAME:
            return False
        before = self.like(k - 2, k - 1) if k > 1 else 1.0
        after = self.like(k, k + 1) if k + 1 < len(self) else 1.0
        low, high = sorted((before, after))
        if like > _SIDES[0] * low + _SIDES[1] * high - _LESS:
            return False
        return not self.joined(k)

    def joined(self, k: int) -> bool:
        """Whether pictures a little before and a little after frame k's beginning show one place."""
        for back in (0.0, *_ACROSS_S):
            for ahead in (0.0, *_ACROSS_S):
                i, j = self.at(self.times[k - 1] - back), self.at(self.times[k] + ahead)
                if self.like(i, j) > _SAME:
                    return True
        return False

    def shows_both(self, a: int, middle: int, b: int) -> bool:
        """Whether a picture shows two places at once, which other pictures show each."""
        before, after = self.like(a, middle), self.like(middle, b)
        if min(before, after) < _BOTH:
            return False
        return before + after - 2 * self.like(a, b) > _BOTH_MORE


def _dissolves(film: _Film, hard: list[int]) -> list[tuple[int, float]]:
    """Middles, and half lengths in seconds, of what looks like one picture that grows out of another, away from `hard`
    cuts."""
    found: list[tuple[float, int, float]] = []
    small = [cv2.resize(grey(s), (16, 16), interpolation=cv2.INTER_AREA) for s in film.signatures]
    flat = np.stack(small).reshape(len(film), -1).astype(np.float32)
    walls = film.times[hard]
    # Fast films are looked at every sixtieth of a second.
    middles = np.unique(np.searchsorted(film.times, np.arange(film.times[0], film.times[-1], 1 / 60)))
    for half in _MIXES_S:
        for middle in middles.clip(1, len(film) - 2).tolist():
            t = film.times[middle]
            a, b = film.at(t - half), film.at(t + half)
            if b - a < 2 or film.times[b] - film.times[a] < 1.2 * half or film.has_stayed(a, b):
                continue
            if ((walls > film.times[a] - _APART_S) & (walls < film.times[b] + _APART_S)).any():
                continue
            left = _unexplained(flat[np.unique(np.linspace(a, b, min(b - a + 1, _MOST)).astype(int))])
            if left < _MIXED and film.shows_both(a, middle, b):
                found.append((left, middle, half))
    out: list[tuple[int, float]] = []
    for _, middle, half in sorted(found):
        if all(abs(film.times[middle] - film.times[k]) > _LONGEST_MIX_S for k, _ in out):
            out.append((middle, half))
    return out


def _unexplained(rows: np.ndarray) -> float:
    """How far pictures (m, d) are from mixtures of the first and the last, of the difference of these; 1 when the share
    of the last does not grow from one to the next."""
    way = rows[-1] - rows[0]
    size = float(way @ way)
    if size < 1e-6:
        return 1.0
    inner = rows[1:-1] - rows[0]
    share = inner @ way / size
    if (np.diff(share, prepend=0, append=1) < -0.05).any() or np.diff(
        share, prepend=0, append=1
    ).max() > 0.75:
        return 1.0
    rest = inner - share[:, None] * way
    return float(np.sqrt((rest * rest).sum(1).max() / size))
