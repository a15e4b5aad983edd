"""Where the joints of datasets lie in the body that is learnt: named joints, landmarks, and a few places by rule.

No two datasets mean the same place by "hip" or "neck". Each reader states its own mapping, by the names that are known
here; where a dataset's joint is another anatomical place than ours, the reader says so. (NLF lets such places learn an
offset of up to 7 cm; ours stay where they are put.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from backend.body.landmarks import LANDMARK_NAMES, body_landmarks
from backend.body.model import Body
from backend.body.skeleton import JOINT

_HEAD = 0.6


def _middle(*names: str) -> Callable[[Body], np.ndarray]:
    return lambda body: np.mean([place(body, n) for n in names], axis=0)


def _top_of_head(body: Body) -> np.ndarray:
    """The highest skin of the head, in the plane of symmetry."""
    head = body.v_template[body.weights[:, JOINT["head"]] > _HEAD]
    top = head[head[:, 1].argmax()].astype(np.float64)
    return top * [0, 1, 1]


_RULES: dict[str, Callable[[Body], np.ndarray]] = {
    "top_of_head": _top_of_head,
    "middle_of_hips": _middle("joint:left_hip", "joint:right_hip"),
    "middle_of_hip_landmarks": _middle("left_hip", "right_hip"),
    "middle_of_shoulders": _middle("joint:left_shoulder", "joint:right_shoulder"),
    "middle_of_head": _middle("left_ear", "right_ear", "nose"),
    "middle_of_trunk": _middle("middle_of_hips", "middle_of_shoulders"),
}


def place(body: Body, name: str) -> np.ndarray:
    """(3,) metres in the rest volume. `name`: a landmark; "joint:" and a joint of the skeleton; or a rule's name.
    KeyError for an unknown one."""
    if name.startswith("joint:"):
        return body.joints_template[JOINT[name.removeprefix("joint:")]].astype(np.float64)
    if name in _RULES:
        return _RULES[name](body)
    if name not in LANDMARK_NAMES:
        raise KeyError(name)
    return body_landmarks(body)[0].positions[LANDMARK_NAMES.index(name)].astype(np.float64)


@lru_cache(maxsize=32)
def places(body: Body, names: Sequence[str]) -> np.ndarray:
    """(P, 3) float32 of several names (a tuple); the same object for the same body and names."""
    return np.array([place(body, n) for n in names], np.float32)
