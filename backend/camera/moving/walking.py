"""A camera that goes from place to place, by features that lie near and far.

Two key frames that tell the most of depth come first; others are laid to what these tell, one after the other, and all
are solved together again and again (`bundle`). Then every frame is laid to the features. Pictures alone do not tell the
unit of the way: `backend.motion.stride` finds how many metres it has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from backend.camera.moving import bundle, keys
from backend.camera.moving.bundle import Scene, Seen
from backend.camera.moving.laid import LEAST, Walk, every_frame, located
from backend.camera.moving.pairs import Steps
from backend.camera.moving.sight import Sight

# Chosen on rendered rooms (bench.camera, seed 100) and generated features.
_PAIR = 24
"""Fewest features that two key frames must share to begin with."""
_BEGIN = 3
"""Pairs that are begun with; the one that comes farthest is taken."""
_ANGLE = 2.0
"""Degrees between two lines of sight that are as good as more."""
_MOST_KEYS = 60
_FLAT = 0.92
"""Part of the features that agree with a camera's motion which may lie in one plane: before a wall 0.8, of a picture
that is moved about 0.95 and more."""
_ROUNDS = 12
_FOCAL = 0.4
"""One sigma of the focal length's logarithm where it is a guess."""
_GOOD = 1.0
"""Where a sighting costs less than this on the average, no other beginning is tried."""
_OTHER, _AGAIN = 0.08, 3
"""With a focal length whose logarithm is off by more it is begun anew, so often at the most."""


def walked(sight: Sight, steps: Steps, times: np.ndarray, focal: float, fixed: bool) -> Walk | None:
    """The way of a camera; None where the features do not tell any. `focal`: small pixels, `fixed`: it is known."""
    frames = keys.choose(sight, steps, times)
    if len(frames) > _MOST_KEYS:
        frames = frames[np.unique(np.linspace(0, len(frames) - 1, _MOST_KEYS).round().astype(int))]
    rank = np.full(sight.n, -1)
    rank[frames] = np.arange(len(frames))
    rows = rank[sight.frame] >= 0
    rows &= (np.bincount(sight.feature[rows], minlength=sight.q) >= 2)[sight.feature]
    names, feature = np.unique(sight.feature[rows], return_inverse=True)
    seen = Seen(rank[sight.frame[rows]], feature, sight.place[rows])
    found, start = None, focal
    for _ in range(1 if fixed else _AGAIN):
        new = _begun(sight, frames, seen, len(names), start, None if fixed else focal)
        if new is None or (found is not None and new.cost >= found.cost):
            break
        # A lens that turned out to be another one is no lens to begin with.
        found, off = new, abs(np.log(new.scene.focal / start))
        start = new.scene.focal
        if off < _OTHER:
            break
    if found is None:
        return None
    points = np.full((sight.q, 4), np.nan)
    points[names] = found.scene.points
    there = found.placed
    scene = replace(
        found.scene, turns=found.scene.turns[there], places=found.scene.places[there], points=points
    )
    return every_frame(sight, frames[there], scene, times, found.sigma)


@dataclass(frozen=True)
class _Found:
    """What key frames come to."""

    scene: Scene
    """Features that are not known are NaN."""
    placed: np.ndarray
    """(k,) bool."""
    cost: float
    """Robust sum of squares over all sightings, in sigmas."""
    sigma: float
    """Of the focal length's logarithm."""


def _begun(sight: Sight, frames: np.ndarray, seen: Seen, count: int, focal: float, guess: float | None):
    """All key frames, with the focal length `focal` to begin with -> _Found or None. `guess`: None where it stays."""
    best, least = None, np.inf
    for i, j, R, t in _beginnings(sight, frames, focal):
        scene, placed, cost = _built(seen, len(frames), count, i, j, R, t, focal)
        if cost < least:
            best, least = (scene, placed), cost
        if cost < _GOOD * len(seen.camera):
            break
    return None if best is None else _together(*best, seen, guess)


def _beginnings(sight: Sight, frames: np.ndarray, focal: float):
    """Pairs of key frames and how the second is turned and placed in the first's space, the most telling first; none
    where all that is seen moves as one plane does: a picture that is moved about is no walk before a wall."""
    found, flat = [], []
    for i in range(len(frames)):
        for j in range(i + 1, min(i + 7, len(frames))):
            both, a, b = sight.shared(frames[i], frames[j])
            if len(both) < _PAIR:
                break
            a, b = np.ascontiguousarray(a / focal), np.ascontiguousarray(b / focal)
            E, good = cv2.findEssentialMat(
                a, b, np.eye(3), method=cv2.USAC_MAGSAC, prob=0.999, threshold=1.0 / focal, maxIters=500
            )
            if E is None or E.shape != (3, 3) or good.sum() < _PAIR / 2:
                continue
            # In pixels: the search thinks that less than a thousandth is nothing.
            _, plane = cv2.findHomography(a * focal, b * focal, cv2.USAC_MAGSAC, 1.5)
            flat.append(0.0 if plane is None else plane.sum() / good.sum())
            _, R, t, ahead = cv2.recoverPose(E, a, b, np.eye(3), mask=good.copy())
            inside = ahead.ravel() > 0
            if inside.sum() < _PAIR / 2:
                continue
            ra = np.concatenate([a, np.ones((len(a), 1))], 1) @ R.T
            rb = np.concatenate([b, np.ones((len(b), 1))], 1)
            cos = (ra * rb).sum(1) / np.linalg.norm(ra, axis=1) / np.linalg.norm(rb, axis=1)
            angle = np.degrees(np.arccos(np.clip(cos, -1, 1)))
            score = np.minimum(angle[inside], _ANGLE).sum()
            found.append((float(score), i, j, R, -R.T @ t.ravel()))
    if flat and np.median(flat) > _FLAT:
        return []
    found.sort(key=lambda row: -row[0])
    out: list = []
    for _, i, j, R, t in found:
        if all(abs(i - o[0]) + abs(j - o[1]) > 1 for o in out):
            out.append((i, j, R, t))
        if len(out) == _BEGIN:
            break
    return out


def _built(seen: Seen, k: int, f: int, i: int, j: int, R: np.ndarray, c: np.ndarray, focal: float):
    """All key frames beginning with two -> scene (features NaN where unknown), which are placed (k,), cost."""
    turns, places = np.tile(np.eye(3), (k, 1, 1)), np.zeros((k, 3))
    turns[j], places[j] = R, c
    placed = np.zeros(k, bool)
    placed[[i, j]] = True
    scene = _solved(Scene(turns, places, np.zeros((f, 4)), focal), placed, seen, i, 8)
    since = 0
    while not placed.all():
        have = np.isfinite(scene.points[:, 0])
        count = np.bincount(seen.camera[have[seen.feature]], minlength=k) * ~placed
        new = int(count.argmax())
        if count[new] < LEAST:
            break
        scene = _laid(scene, placed, seen, new)
        placed[new] = True
        since += 1
        if placed.sum() < 6 or since >= 3 or placed.all():
            scene, since = _solved(scene, placed, seen, i, 4), 0
    miss = bundle.missed(scene, seen)
    cost = np.where(np.isfinite(miss[:, 0]) & placed[seen.camera], bundle.cost_of(miss), bundle.CLIP)
    return scene, placed, float(cost.sum())


def _solved(scene: Scene, placed: np.ndarray, seen: Seen, first: int, rounds: int) -> Scene:
    """Features anew, then cameras and features together."""
    names, part, some = _part(scene, placed, seen, first)
    points = bundle.triangulated(part, some, len(scene.points))
    # What is still right stays as it was found.
    old = np.isfinite(scene.points[:, 0]) & (np.abs(scene.points).max(1) > 0)
    points[old & np.isfinite(points[:, 0])] = scene.points[old & np.isfinite(points[:, 0])]
    keep = np.flatnonzero(np.isfinite(points[:, 0]))
    if not len(keep):
        return replace(scene, points=points)
    at = np.full(len(points), -1)
    at[keep] = np.arange(len(keep))
    told = at[some.feature] >= 0
    some = Seen(some.camera[told], at[some.feature[told]], some.place[told])
    part = replace(part, points=points[keep])
    part, _ = bundle.adjusted(part, some, max(rounds // 2, 2), scale=3.0, least=1e-2)
    # What went astray is looked for again where the cameras now are.
    again = bundle.triangulated(part, some, len(keep))
    ok = np.isfinite(again[:, 0])
    first_cost = np.bincount(some.feature, bundle.cost_of(bundle.missed(part, some)), len(keep))
    other = replace(part, points=np.where(ok[:, None], again, part.points))
    other_cost = np.bincount(some.feature, bundle.cost_of(bundle.missed(other, some)), len(keep))
    part = replace(part, points=np.where((ok & (other_cost < first_cost))[:, None], again, part.points))
    part, _ = bundle.adjusted(part, some, rounds, least=1e-3)
    return _back(scene, names, part, keep)


def _part(scene: Scene, placed: np.ndarray, seen: Seen, first: int) -> tuple[np.ndarray, Scene, Seen]:
    """The placed cameras alone, `first` as the first of them."""
    names = np.concatenate([[first], np.setdiff1d(np.flatnonzero(placed), [first])])
    rank = np.full(len(placed), -1)
    rank[names] = np.arange(len(names))
    rows = rank[seen.camera] >= 0
    return (
        names,
        replace(scene, turns=scene.turns[names], places=scene.places[names]),
        Seen(rank[seen.camera[rows]], seen.feature[rows], seen.place[rows]),
    )


def _back(scene: Scene, names: np.ndarray, part: Scene, keep: np.ndarray) -> Scene:
    turns, places = scene.turns.copy(), scene.places.copy()
    turns[names], places[names] = part.turns, part.places
    points = np.full_like(scene.points, np.nan)
    points[keep] = part.points
    return Scene(turns, places, points, part.focal)


def _laid(scene: Scene, placed: np.ndarray, seen: Seen, new: int) -> Scene:
    """One camera more, by the features that are known."""
    rows = (seen.camera == new) & np.isfinite(scene.points[seen.feature, 0])
    some = Seen(np.zeros(int(rows.sum()), int), seen.feature[rows], seen.place[rows])
    there = np.flatnonzero(placed)
    near = there[np.argsort(np.abs(there - new), kind="stable")]
    starts = [(scene.turns[near[0]], scene.places[near[0]])]
    if len(near) > 1:
        a, b = near[:2]
        share = (new - a) / (a - b)
        step = scene.turns[a] @ scene.turns[b].T
        starts.append((step @ scene.turns[a] if share > 0 else scene.turns[a],
                       scene.places[a] + share * (scene.places[a] - scene.places[b])))  # fmt: skip
    best, least = None, np.inf
    for start in [*starts, None]:
        if start is None and least < 2 * _GOOD * len(some.camera):
            break
        start = start or _by_points(scene, some)
        if start is None:
            break
        one = replace(scene, turns=start[0][None], places=start[1][None])
        for scale in (6.0, 6.0, 6.0, 3.0, 1.0, 1.0):
            one, _ = located(one, some, scale)
        cost = float(bundle.cost_of(bundle.missed(one, some)).sum())
        if cost < least:
            best, least = one, cost
        if least < _GOOD * len(some.camera):
            break
    assert best is not None
    turns, places = scene.turns.copy(), scene.places.copy()
    turns[new], places[new] = best.turns[0], best.places[0]
    return replace(scene, turns=turns, places=places)


def _by_points(scene: Scene, some: Seen) -> tuple[np.ndarray, np.ndarray] | None:
    """Turn and place of one camera by few features at a time; None where too few are near enough."""
    w = scene.points[some.feature, 3]
    finite = np.abs(w) > 1e-3
    if finite.sum() < LEAST:
        return None
    xyz = scene.points[some.feature[finite], :3] / w[finite, None]
    ok, turn, move, _ = cv2.solvePnPRansac(
        xyz, some.place[finite] / scene.focal, np.eye(3), None,
        iterationsCount=100, reprojectionError=3.0 / scene.focal, flags=cv2.SOLVEPNP_SQPNP,
    )  # fmt: skip
    if not ok:
        return None
    R = cv2.Rodrigues(turn)[0]
    return R, -R.T @ move.ravel()


def _together(scene: Scene, placed: np.ndarray, seen: Seen, guess: float | None) -> _Found:
    """Everything once more, with the lens where it is a guess."""
    first = int(np.flatnonzero(placed)[0])
    names, part, some = _part(scene, placed, seen, first)
    keep = np.flatnonzero(np.isfinite(scene.points[:, 0]))
    at = np.full(len(scene.points), -1)
    at[keep] = np.arange(len(keep))
    told = at[some.feature] >= 0
    some = Seen(some.camera[told], at[some.feature[told]], some.place[told])
    part = replace(part, points=scene.points[keep])
    free = 0.0 if guess is None else _FOCAL
    part, _ = bundle.adjusted(part, some, _ROUNDS, free, guess or 0.0, least=1e-4)
    sigma = np.inf if guess is None else bundle.focal_spread(part, some, free, guess)
    scene = _back(scene, names, part, keep)
    miss = bundle.missed(scene, seen)
    cost = np.where(np.isfinite(miss[:, 0]) & placed[seen.camera], bundle.cost_of(miss), bundle.CLIP)
    return _Found(scene, placed, float(cost.sum()), sigma)
