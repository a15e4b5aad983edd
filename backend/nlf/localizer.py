"""The one public interface of every localizer: crops and canonical points in, 3D points with uncertainty out.

Nothing above this room knows which weights run. `create_localizer` is the only place that lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backend.body.model import Body, CanonicalPoints
from backend.records import Camera, Crop, JobError, Localization


class Localizer(Protocol):
    """Localizes canonical points of the body.

    `name`: what `create_localizer` was asked for; `side`: pixels of the square crops it wants; `native`: the
    canonical points that it answers best and that the fit uses (P of them).
    """

    name: str
    side: int
    native: CanonicalPoints

    def prepare(self, points: CanonicalPoints) -> object:
        """Do once what a point set needs (push it through the field, say). The result goes into `localize`."""
        ...

    def localize(self, crops: Sequence[Crop], camera: Camera, prepared: object | None = None) -> Localization:
        """Localize the prepared points (None: the native ones) on crops cut from pictures of `camera`."""
        ...


LOCALIZERS = ("landmarks-heavy", "landmarks-full", "landmarks-lite")
"""Names that `create_localizer` knows, best first."""


def create_localizer(name: str, body: Body, device: str) -> Localizer:
    """`name` from LOCALIZERS; `device` a torch device. Raises JobError("bad_options") for an unknown name."""
    if name not in LOCALIZERS:
        raise JobError(
            "bad_options", f"There is no localizer called '{name}': choose one of {', '.join(LOCALIZERS)}."
        )
    from backend.nlf.landmarks import LandmarksLocalizer

    return LandmarksLocalizer(name.removeprefix("landmarks-"), body, device)
