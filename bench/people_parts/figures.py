"""How well people are told apart: HOTA, IDF1, switches, recall by size. Pure.

Truth and finds are arrays of landmarks; a find and a person are alike by how far their landmarks are apart, so that two
people in one place are told apart where boxes would not. HOTA: Luiten et al., IJCV 2021; IDF1: Ristani et al., 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

WIDE = 0.5
"""Mean distance of landmarks at which nothing is alike, in sizes of the person (hips to the farthest landmark)."""
SAME = 0.5
"""Alike enough to be the same."""
CARE = 0.3
"""People of whom less is seen may be found or not."""
ALPHAS = np.arange(1, 20) / 20


@dataclass(eq=False)
class Scene:
    """One clip. Rows of people who may be found or not, and the finds on them, are taken out by `cared`."""

    truth: np.ndarray
    """(n,) int person of each true row."""
    finds: np.ndarray
    """(k,) int track of each find."""
    alike: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    """For each frame: rows of truth (a,), rows of finds (b,), how alike they are (a, b) in 0..1."""


def similarity(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(a, P, 2) and (b, P, 2) pixels, of which rows 23 and 24 are the hips -> (a, b) in 0..1."""
    hips = truth[:, [23, 24]].mean(1, keepdims=True)
    size = np.linalg.norm(truth - hips, axis=-1).max(1)
    gap = np.linalg.norm(truth[:, None] - found[None], axis=-1).mean(-1)
    return np.clip(1 - gap / (WIDE * np.maximum(size, 1e-6))[:, None], 0, 1)


def cared(scene: Scene, care: np.ndarray) -> Scene:
    """Without the true rows that `care` (n,) does not mark, and without the finds that are on them."""
    out = []
    for a, b, s in scene.alike:
        i, j = linear_sum_assignment(-s)
        on = (s[i, j] >= SAME) & ~care[a[i]]
        rows, columns = care[a], ~np.isin(np.arange(len(b)), j[on])
        out.append((a[rows], b[columns], s[rows][:, columns]))
    return Scene(scene.truth, scene.finds, out)


def idf1(scene: Scene) -> tuple[float, float, float]:
    """Twice the rows that a lasting assignment of tracks to people gets right, all true rows, and all finds: IDF1 of
    many clips is the first of their sums over the sum of the other two."""
    people, tracks = np.unique(scene.truth), np.unique(scene.finds)
    right = np.zeros((len(people), len(tracks)))
    rows = finds = 0
    for a, b, s in scene.alike:
        i, j = np.nonzero(s >= SAME)
        np.add.at(
            right, (np.searchsorted(people, scene.truth[a[i]]), np.searchsorted(tracks, scene.finds[b[j]])), 1
        )
        rows, finds = rows + len(a), finds + len(b)
    return 2 * float(right[linear_sum_assignment(-right)].sum()), float(rows), float(finds)


def switches(scene: Scene) -> tuple[int, int, int]:
    """How often a person goes on under another track; true rows that nobody found; finds on nobody."""
    last: dict[int, int] = {}
    count = missed = false = 0
    for a, b, s in scene.alike:
        same = np.array([[last.get(int(t)) == int(f) for f in scene.finds[b]] for t in scene.truth[a]], bool)
        # Whoever can go on as before does.
        gain = np.where(s >= SAME, s + 10 * same.reshape(s.shape), -1)
        i, j = linear_sum_assignment(-gain)
        good = gain[i, j] > 0
        for t, f in zip(scene.truth[a[i[good]]].tolist(), scene.finds[b[j[good]]].tolist(), strict=True):
            count += last.get(t, f) != f
            last[t] = f
        missed, false = missed + len(a) - int(good.sum()), false + len(b) - int(good.sum())
    return count, missed, false


def hota(scene: Scene) -> np.ndarray:
    """(3,) HOTA, DetA, AssA: means over how alike is the same."""
    people, tracks = np.unique(scene.truth), np.unique(scene.finds)
    who = [(np.searchsorted(people, scene.truth[a]), np.searchsorted(tracks, scene.finds[b]), s)
           for a, b, s in scene.alike]  # fmt: skip
    potential = np.zeros((len(people), len(tracks)))
    n_true, n_found = np.zeros(len(people)), np.zeros(len(tracks))
    for p, t, s in who:
        total = s.sum(0)[None] + s.sum(1)[:, None] - s
        potential[np.ix_(p, t)] += np.where(total > 1e-9, s / np.maximum(total, 1e-9), 0)
        n_true[p] += 1
        n_found[t] += 1
    lasting = potential / np.maximum(n_true[:, None] + n_found[None] - potential, 1e-9)
    out = np.zeros((len(ALPHAS), 3))
    for k, alpha in enumerate(ALPHAS):
        hits = np.zeros_like(potential)
        for p, t, s in who:
            i, j = linear_sum_assignment(-(lasting[np.ix_(p, t)] * s))
            good = s[i, j] >= alpha - 1e-9
            hits[p[i[good]], t[j[good]]] += 1
        tp = hits.sum()
        detected = tp / max(n_true.sum() + n_found.sum() - tp, 1)
        share = hits / np.maximum(n_true[:, None] + n_found[None] - hits, 1)
        associated = float((hits * share).sum() / max(tp, 1))
        out[k] = np.sqrt(detected * associated), detected, associated
    return out.mean(0)


def found_rows(scene: Scene) -> np.ndarray:
    """(n,) bool: the true rows that somebody found."""
    out = np.zeros(len(scene.truth), bool)
    for a, _, s in scene.alike:
        i, j = linear_sum_assignment(-s)
        out[a[i[s[i, j] >= SAME]]] = True
    return out
