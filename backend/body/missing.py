"""Where the eyes, the jaw and the fingers of a body are whose file has no joints for them (SMPL, SMPL-H).

The shipped body knows where its own are in its head and hands; they are carried over by the size and the place of
what the skin shows of both: the hand from the wrist to its tip, the head from the tip of the nose to its top, back and
sides. Good to a centimetre, which is what landmarks in pictures are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backend.body.model import Body
from backend.body.skeleton import JOINT, PARENTS

_FACE = [JOINT[n] for n in ("jaw", "left_eye_smplhf", "right_eye_smplhf")]
_HANDS = {"left": slice(25, 40), "right": slice(40, 55)}
_FORWARD = np.array([0.0, 0.0, 1.0])


class _UnlikeError(Exception):
    """The skin shows no head or hand."""


def place_missing(v: np.ndarray, weights: np.ndarray, joints: np.ndarray, present: np.ndarray,
                  reference: Callable[[], Body]) -> np.ndarray:  # fmt: skip
    """(55, 3) `joints` with the absent ones put where they should be; at their parents' places where the skin shows
    no hand or head. `v`: (V, 3) T-pose; `weights`: (V, 55); `present`: (55,) bool; `reference`: gives the shipped
    body, and is asked only if anything is missing."""
    out = joints.copy()
    for j in np.flatnonzero(~present):
        out[j] = out[PARENTS[j]]
    if present.all():
        return out
    known = reference()
    theirs = known.v_template.astype(np.float64), known.weights, known.joints_template.astype(np.float64)
    for rows, frame in (
        (_FACE, _head),
        *((range(55)[s], lambda *a, side=side: _hand(*a, side)) for side, s in _HANDS.items()),
    ):
        absent = [j for j in rows if not present[j]]
        if not absent:
            continue
        try:
            (origin, axes), (origin0, axes0) = frame(v, weights, out), frame(*theirs)
        except _UnlikeError:
            continue
        out[absent] = origin + (theirs[2][absent] - origin0) @ np.linalg.inv(axes0) @ axes
    return out


def _hand(v: np.ndarray, weights: np.ndarray, joints: np.ndarray, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Wrist (3,), and as rows (3, 3) metres the ways to the tip, to the thumb's side and across, all as long as the
    hand."""
    wrist, own = JOINT[f"{side}_wrist"], _HANDS[side]
    skin = v[weights[:, wrist] + weights[:, own].sum(1) > 0.5]
    if len(skin) < 20:
        raise _UnlikeError
    off = skin - joints[wrist]
    distance = np.linalg.norm(off, axis=1)
    length = distance.max()
    along = off[distance.argmax()] / max(length, 1e-9)
    thumb = _FORWARD - (_FORWARD @ along) * along
    size = np.linalg.norm(thumb)
    if length < 0.02 or size < 0.2:
        raise _UnlikeError
    thumb = thumb / size
    return joints[wrist], length * np.stack([along, thumb, np.cross(along, thumb)])


def _head(v: np.ndarray, weights: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tip of the nose (3,), and as rows (3, 3) metres half the head's breadth, the height of the head above the nose
    and its depth behind it."""
    eyes = weights[:, _FACE[1:]].sum(1)
    skin = v[(weights[:, JOINT["head"]] + weights[:, JOINT["jaw"]] > 0.6) & (eyes < 0.05)]
    if len(skin) < 50:
        raise _UnlikeError
    middle = skin[np.abs(skin[:, 0] - joints[JOINT["head"], 0]) < 0.1 * np.ptp(skin[:, 0])]
    if not len(middle):
        raise _UnlikeError
    nose = middle[middle[:, 2].argmax()]
    height = skin[:, 1].max() - nose[1]
    dome = skin[skin[:, 1] > nose[1] + 0.5 * height]
    depth = nose[2] - skin[skin[:, 1] > nose[1], 2].min(initial=nose[2])
    breadth = np.abs(dome[:, 0] - nose[0]).max(initial=0)
    if min(height, depth, breadth) < 0.01:
        raise _UnlikeError
    return nose, np.diag([breadth, height, depth])
