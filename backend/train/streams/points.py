"""Which canonical points a step looks at: landmarks and joints always, others drawn from the skin and the inside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from backend.body.landmarks import body_landmarks
from backend.body.model import Body, CanonicalPoints
from backend.body.points import joint_point, stack
from backend.body.pointsets import named_set
from backend.body.skeleton import JOINT_NAMES

BODY_JOINTS = 22


@dataclass(frozen=True, eq=False)
class PointPool:
    """The canonical points that a stream chooses from."""

    points: CanonicalPoints
    """Pelvis first, then the other 21 body joints, the 33 landmarks, places spread evenly over the skin, and
    places spread evenly through the inside."""
    fixed: int
    """How many joints and landmarks there are together."""
    skin: int
    """How many places on the skin there are."""

    def draw(self, rng: np.random.Generator, count: int, inside: float = 0.3) -> np.ndarray:
        """`count` rows: all the fixed ones, and of the others a share `inside` of inner ones. Row 0 is the pelvis."""
        more = count - self.fixed
        inner = round(more * inside)
        total = len(self.points)
        first = self.fixed + self.skin
        skin = rng.choice(np.arange(self.fixed, first), more - inner, replace=False)
        inner_rows = rng.choice(np.arange(first, total), inner, replace=False)
        return np.concatenate([np.arange(self.fixed), skin, inner_rows])

    @property
    def landmarks(self) -> slice:
        """Rows of the 33 landmarks."""
        return slice(BODY_JOINTS, self.fixed)


@lru_cache(maxsize=4)
def point_pool(body: Body, skin: int = 4096, inside: int = 1536) -> PointPool:
    """The pool of `body`; the same body and numbers give the same points."""
    joints = stack([joint_point(body, name) for name in JOINT_NAMES[:BODY_JOINTS]])
    landmarks, _ = body_landmarks(body)
    surface, volume = named_set(body, f"surface_{skin}"), named_set(body, f"volume_{inside}")
    assert surface is not None and volume is not None
    fixed = BODY_JOINTS + len(landmarks)
    return PointPool(stack([joints, landmarks, surface.points, volume.points]), fixed, skin)
