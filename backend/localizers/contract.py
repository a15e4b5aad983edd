"""What every localizer is: people in pictures and canonical points in, 3D points with their uncertainty out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from backend.body.model import CanonicalPoints
from backend.body.pointsets import PointSet
from backend.nets.hands import ONE, Hands
from backend.records import Localization, Subject

OWN = "field"
"""Our own localizer field."""
LANDMARK_LOCALIZERS = ("landmarks-heavy", "landmarks-full", "landmarks-lite")
SHIPPED = (OWN, *LANDMARK_LOCALIZERS)
"""Names of the localizers that are shipped, best first."""


class Localizer(Protocol):
    """Localizes canonical points of the body."""

    name: str
    """What `create_localizer` was asked for."""
    engine: str
    """Name of the engine by which its network runs, see `nets.engine`."""
    native: CanonicalPoints
    """The P canonical points that it answers best and that the fit uses."""
    landmarks: np.ndarray
    """(33,) rows of `native` that are the landmarks by which people are followed."""
    skeletons: Mapping[str, PointSet]
    """Named point sets of its own, beside those of every body."""

    def prepare(self, points: CanonicalPoints | PointSet) -> object:
        """Do once what a point set needs (push it through the point network, say). The result goes into `localize`.

        Points of the body are found at their place in the localizer's canonical space; `raw` ones of a set are
        taken for positions in that space.
        """
        ...

    def localize(self, subjects: Sequence[Subject], prepared: object | None = None) -> Localization:
        """Localize the prepared points (None: the native ones) of everyone in `subjects`, B of them. Their
        pictures may differ in size and camera."""
        ...


@runtime_checkable
class Recalls(Protocol):
    """A localizer that answers further points of a picture from what it kept of it, without the picture.

    Asked by `LocalizerOptions.keep`; the landmarks localizers have nothing of the kind.
    """

    def prepare(self, points: CanonicalPoints | PointSet) -> object:
        """See `Localizer.prepare`."""
        ...

    def recall(self, features: Mapping[str, np.ndarray], prepared: object) -> Localization:
        """Localize the prepared points of the B people of `features`, rows of `Localization.features`, as `localize`
        would have then. Raises KeyError, ValueError or RuntimeError for features that are not of this localizer."""
        ...


@dataclass(frozen=True)
class LocalizerOptions:
    """What can be asked of a localizer. The shipped ones take only the device, and `field` the note."""

    device: str = "cpu"
    """A torch device."""
    num_aug: int = 1
    """Views of each person that are merged into one answer."""
    precision: str = "auto"
    """Of the network: auto, fp32, bf16 or fp16."""
    compiled: bool = False
    """Let PyTorch compile the network first."""
    lens: tuple[float, ...] = ()
    """5, 8 or 12 distortion coefficients in OpenCV's order, or 4 of a fisheye; empty for no distortion."""
    note: Callable[[str], None] = field(default=lambda _: None, compare=False)
    """Called with one sentence for each wish that cannot be met and for each step that takes long."""
    keep: bool = False
    """Also return the features that `recall` needs."""
    engine: str = "auto"
    """By which the frozen networks run: see `nets.engine`."""
    hands: Hands = ONE
    """Who look at the people, each at one at a time."""
