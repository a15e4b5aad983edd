"""The points that a body is fitted to: landmarks and joints for certain, and the skin evenly."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from backend.body.landmarks import body_landmarks
from backend.body.model import Body, CanonicalPoints
from backend.body.points import stack
from backend.body.pointsets import named_set

_cache: WeakKeyDictionary[Body, dict[int, CanonicalPoints]] = WeakKeyDictionary()


def native_points(body: Body, surface: int) -> CanonicalPoints:
    """The 33 landmarks first, then the 55 joints, then `surface` points of the skin; computed once a body."""
    kept = _cache.setdefault(body, {})
    if surface not in kept:
        kept[surface] = _native(body, surface)
    return kept[surface]


def _native(body: Body, surface: int) -> CanonicalPoints:
    sets = [named_set(body, name) for name in ("smplx_55", f"surface_{surface}")]
    return stack([body_landmarks(body)[0], *(s.points for s in sets if s is not None)])
