"""Where a body touches the floor: its soles, palms and knees, and skin all over that must not sink into it."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.body.points import combine, stack
from backend.body.pointsets import named_set
from backend.body.skeleton import JOINT, JOINT_NAMES

SKIN = 48
"""Points all over the skin that must not sink into the floor, beside the soles' edges."""
_SOLE_M = 0.02
"""Thickness of a foot that counts as its sole."""
_ENDS = (0.15, 0.85)
"""Shares of a sole's length behind and before which its heel and its toes are."""
_cache: WeakKeyDictionary[Body, CanonicalPoints] = WeakKeyDictionary()


def touching_points(body: Body) -> CanonicalPoints:
    """The 8 points of `CONTACTS` in their order, then the soles' edges and `SKIN` others; computed once a body."""
    if body not in _cache:
        rows = [*_soles(body), *(_palm(body, side) for side in ("left", "right")),
                *(_knee(body, side) for side in ("left", "right")), *_edges(body)]  # fmt: skip
        L = np.zeros((len(rows), len(body.v_template)), np.float32)
        for k, some in enumerate(rows):
            L[k, some] = 1 / len(some)
        skin = named_set(body, f"surface_{SKIN}")
        assert skin is not None
        _cache[body] = stack([combine(body, L, L @ body.v_template), skin.points])
    return _cache[body]


def _soles(body: Body) -> list[np.ndarray]:
    """Rows of the vertices of left heel, left toes, right heel, right toes."""
    out = []
    for side in ("left", "right"):
        v = body.v_template
        foot = body.weights[:, [JOINT[f"{side}_ankle"], JOINT[f"{side}_foot"]]].sum(1) > 0.6
        rows = np.flatnonzero(foot)
        rows = rows[v[rows, 1] < v[rows, 1].min() + _SOLE_M]
        # By length: toes have many more vertices than heels.
        z = v[rows, 2]
        back, front = z.min() + np.array(_ENDS) * np.ptp(z)
        out += [rows[v[rows, 2] < back], rows[v[rows, 2] > front]]
    return out


def _edges(body: Body) -> list[np.ndarray]:
    """Rows of single vertices at the ends and sides of both soles: the middle of a heel on the floor leaves its edge
    free to sink."""
    out, v = [], body.v_template
    for heel, toes in zip(*[iter(_soles(body))] * 2, strict=True):
        for part, end in ((heel, v[heel, 2].argmin()), (toes, v[toes, 2].argmax())):
            out += [part[[k]] for k in (end, v[part, 0].argmin(), v[part, 0].argmax())]
    return out


def _palm(body: Body, side: str) -> np.ndarray:
    """The lower skin of the hand: in the rest pose palms look down."""
    hand = [
        j
        for j, name in enumerate(JOINT_NAMES)
        if name.startswith(side) and (j >= 25 or name.endswith("wrist"))
    ]
    rows = np.flatnonzero(body.weights[:, hand].sum(1) > 0.8)
    return rows[body.v_template[rows, 1] < np.quantile(body.v_template[rows, 1], 0.2)]


def _knee(body: Body, side: str) -> np.ndarray:
    """The front of the knee."""
    at = body.joints_template[JOINT[f"{side}_knee"]]
    near = np.abs(body.v_template - at) < [0.06, 0.05, 0.2]
    rows = np.flatnonzero(near.all(1))
    return rows[body.v_template[rows, 2] > np.quantile(body.v_template[rows, 2], 0.85)]
