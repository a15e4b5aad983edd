"""Where a film is cut: while it is seen, without a look ahead (`ChangeWatch`), and at the end (`find_cuts`).

A cut is where a picture shows another place than the one before, and the pictures to either side of it hold together.
What both sides of it share is no cut: a flash, a lamp, somebody who passes before the lens. Where many pictures in a
row have nothing in common the camera is swung round.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from backend.shots.signature import alike, evened, grey, signature

__all__ = ["ChangeWatch", "find_cuts", "signature"]

# All numbers of this file were chosen on generated films (bench/cut_films.py) of seeds 100 and up.
_STILL = 0.8
"""Likeness without any displacement above which nothing else needs to be compared."""
_SAME = 0.5
"""Likeness (see `alike`) of two pictures of one place."""
_MARGIN = 0.15
"""By how much less a cut's two pictures are alike than those to either side of it."""
_BLANK = 4.0
"""Standard deviation in grey levels below which a picture shows nothing: black, or dazzled."""
_REPEAT = 0.35
"""Mean difference in grey levels between a picture and the same picture shown once more."""
_ACROSS_S = (0.05, 0.12, 0.25)
"""How far to either side of a cut, in seconds, pictures of one place are looked for."""
_MIXES_S = (0.1, 0.2, 0.35, 0.55, 0.8)
"""Half lengths of dissolves that are looked for, seconds."""
_MIXED = 0.25
"""What a mixture of two pictures may leave unexplained, of the difference between these."""


class ChangeWatch:
    """Says while a film is seen where people must be looked for anew. It knows nothing of what comes, so the first
    picture after a flash that leaves nothing to see may count."""

    def __init__(self) -> None:
        self._last: np.ndarray | None = None
        self._usual = 1.0

    def see(self, signature: np.ndarray, time_s: float) -> bool:
        """Whether this picture shows another place than the last that showed anything."""
        if _is_blank(signature):
            return False
        last, self._last = self._last, signature.copy()
        if last is None:
            return False
        like = _near(last, signature)
        sudden = like < _SAME and like < self._usual - _MARGIN
        # While the camera is swung round every picture is another one: once is enough.
        self._usual = 1.0 if sudden else like
        return sudden

    def memory(self) -> dict[str, np.ndarray]:
        """What `recall` needs."""
        if self._last is None:
            return {}
        return {"signature": self._last, "usual": np.float64(self._usual)}

    def recall(self, memory: dict[str, np.ndarray]) -> None:
        """Go on where a watch with this memory stood."""
        if "signature" in memory:
            self._last, self._usual = np.asarray(memory["signature"]), float(memory["usual"])


def find_cuts(signatures: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(k,) int64 in rising order, never 0: the first frame of each new shot. `signatures` (n, SIZE) uint8 of all frames
    of a clip, `times` (n,) seconds. A dissolve counts once, in its middle, a fade through black where it gets light."""
    kept = _shown(signatures)
    if len(kept) < 2:
        return np.zeros(0, np.int64)
    film = _Film(signatures[kept], np.asarray(times, np.float64)[kept])
    hard = [k for k in range(1, len(kept)) if film.is_cut(k)]
    soft = _dissolves(film, hard)
    return kept[np.array(sorted({*hard, *soft}), np.int64)]


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


def _unmoved(a: np.ndarray, b: np.ndarray) -> float:
    """How alike two signatures are where they are."""
    (x, _), (y, _) = evened(a), evened(b)
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum() + 1e-9))


def _near(a: np.ndarray, b: np.ndarray) -> float:
    still = _unmoved(a, b)
    return still if still > _STILL else max(still, alike(a, b))


class _Film:
    """Signatures that can be compared with each other, each pair once."""

    def __init__(self, signatures: np.ndarray, times: np.ndarray) -> None:
        self.signatures, self.times = signatures, times
        self.like = lru_cache(maxsize=4096)(self._like)

    def __len__(self) -> int:
        return len(self.times)

    def _like(self, i: int, j: int) -> float:
        return _near(self.signatures[i], self.signatures[j])

    def at(self, time_s: float) -> int:
        """The frame that is shown at a time."""
        return int(np.clip(np.searchsorted(self.times, time_s + 1e-6, "right") - 1, 0, len(self) - 1))

    def is_cut(self, k: int) -> bool:
        """Whether a new shot begins with frame k."""
        like = self.like(k - 1, k)
        if like > _SAME:
            return False
        sides = [self.like(k - 2, k - 1)] if k > 1 else []
        sides += [self.like(k, k + 1)] if k + 1 < len(self) else []
        if min(sides, default=1.0) < like + _MARGIN:
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


def _dissolves(film: _Film, hard: list[int]) -> list[int]:
    """Middles of what looks like one picture that grows out of another."""
    found: list[tuple[float, int, float]] = []
    small = np.stack([cv2.resize(grey(s), (16, 16), interpolation=cv2.INTER_AREA) for s in film.signatures])
    flat = small.reshape(len(film), -1).astype(np.float32)
    walls = np.array([0, *hard, len(film)])
    for half in _MIXES_S:
        for middle in range(1, len(film) - 1):
            t = film.times[middle]
            a, b = film.at(t - half), film.at(t + half)
            if a < 0 or b - a < 2 or film.times[b] - film.times[a] < 1.2 * half:
                continue
            if np.searchsorted(walls, a, "right") != np.searchsorted(walls, b, "right"):
                continue
            left = _unexplained(flat[a : b + 1])
            if left < _MIXED and not film.like(a, b) > _SAME:
                found.append((left, middle, half))
    out: list[int] = []
    for _, middle, _ in sorted(found):
        if all(abs(film.times[middle] - film.times[k]) > 0.6 for k in [*out]):
            out.append(middle)
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
