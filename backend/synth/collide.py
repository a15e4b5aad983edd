"""Does a pose push limbs through the body? Capsules along the bones, good enough to turn such poses away."""

from __future__ import annotations

import numpy as np

from backend.body import JOINT
from backend.synth.kernels import kernel

_BONES = (
    # from, to, where on the way it starts and ends (beyond 1: past the joint), radius in metres
    ("pelvis", "spine2", 0.0, 1.0, 0.115),
    ("spine2", "neck", 0.0, 0.9, 0.12),
    ("neck", "head", 0.6, 2.6, 0.08),
    *((f"{s}_hip", f"{s}_knee", 0.35, 1.0, 0.066) for s in ("left", "right")),
    *((f"{s}_knee", f"{s}_ankle", 0.05, 1.0, 0.045) for s in ("left", "right")),
    *((f"{s}_ankle", f"{s}_foot", 0.0, 1.5, 0.032) for s in ("left", "right")),
    *((f"{s}_shoulder", f"{s}_elbow", 0.5, 1.0, 0.042) for s in ("left", "right")),
    *((f"{s}_elbow", f"{s}_wrist", 0.1, 1.0, 0.034) for s in ("left", "right")),
    *((f"{s}_wrist", f"{s}_middle1", 0.2, 1.8, 0.028) for s in ("left", "right")),
)
_FROM = np.array([JOINT[b[0]] for b in _BONES], np.int32)
_TO = np.array([JOINT[b[1]] for b in _BONES], np.int32)
_SPAN = np.array([b[2:5] for b in _BONES], np.float32)
# Neighbours touch by nature; what is left can only meet by going through.
_TOUCHING = {
    (0, 1),
    (0, 2),
    (1, 2),
    (0, 3),
    (0, 4),
    (1, 9),
    (1, 10),
    (3, 5),
    (4, 6),
    (5, 7),
    (6, 8),
    (9, 11),
    (10, 12),
}
_TOUCHING |= {(11, 13), (12, 14), (9, 13), (10, 14), (3, 7), (4, 8), (2, 9), (2, 10), (1, 3), (1, 4)}
_PAIRS = np.array(
    [(i, j) for i in range(len(_BONES)) for j in range(i + 1, len(_BONES)) if (i, j) not in _TOUCHING],
    np.int32,
)


def depth(places: np.ndarray) -> float:
    """How far, in metres, the worst two limbs of the joints `places` (55, 3) stand in each other; 0 for none."""
    return float(_depth(places, _FROM, _TO, _SPAN, _PAIRS))


@kernel
def _depth(places, start, end, span, pairs):
    worst = np.float32(0.0)
    for q in range(pairs.shape[0]):
        i, j = pairs[q, 0], pairs[q, 1]
        # Closest approach of two segments p + s d and q + t e.
        dd = np.float32(0.0)
        ee = np.float32(0.0)
        de = np.float32(0.0)
        dr = np.float32(0.0)
        er = np.float32(0.0)
        rr = np.float32(0.0)
        for k in range(3):
            a, b = places[start[i], k], places[end[i], k]
            c, d = places[start[j], k], places[end[j], k]
            u, v = (b - a) * (span[i, 1] - span[i, 0]), (d - c) * (span[j, 1] - span[j, 0])
            w = a + (b - a) * span[i, 0] - c - (d - c) * span[j, 0]
            dd += u * u
            ee += v * v
            de += u * v
            dr += u * w
            er += v * w
            rr += w * w
        slack = dd * ee - de * de
        s = np.float32(0.5)
        if slack > 1e-9:
            s = min(max((de * er - dr * ee) / slack, np.float32(0.0)), np.float32(1.0))
        t = min(max((de * s + er) / ee, np.float32(0.0)), np.float32(1.0))
        s = min(max((de * t - dr) / dd, np.float32(0.0)), np.float32(1.0))
        gap = rr + s * s * dd + t * t * ee + 2 * (s * dr - t * er - s * t * de)
        inside = span[i, 2] + span[j, 2] - np.sqrt(max(gap, np.float32(0.0)))
        worst = max(worst, inside)
    return worst
