"""The one public interface of every localizer: people in pictures and canonical points in, 3D points out.

Nothing above this room knows which weights run. `create_localizer` is the only place that lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.records import JobError, Localization, Subject

if TYPE_CHECKING:
    from backend.body.pointsets import PointSet

OWN = "field"
"""Our own localizer field."""
LANDMARK_LOCALIZERS = ("landmarks-heavy", "landmarks-full", "landmarks-lite")
SHIPPED = (OWN, *LANDMARK_LOCALIZERS)
"""Names of the localizers that are shipped, best first."""


class Localizer(Protocol):
    """Localizes canonical points of the body.

    `name`: what `create_localizer` was asked for; `native`: the canonical points that it answers best and that the
    fit uses (P of them); `landmarks`: (33,) rows of `native` that are the landmarks by which people are followed;
    `skeletons`: named point sets of its own, beside those of every body.
    """

    name: str
    native: CanonicalPoints
    landmarks: np.ndarray
    skeletons: Mapping[str, PointSet]

    def prepare(self, points: CanonicalPoints | PointSet) -> object:
        """Do once what a point set needs (push it through the field, say). The result goes into `localize`.

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
    """What can be asked of a localizer. The shipped ones take only the device, and `field` the note.

    `device`: a torch device; `num_aug`: views of each person that are merged into one answer; `precision`: of the
    network, auto, fp32, bf16 or fp16; `compiled`: let PyTorch compile the network first; `lens`: 5, 8 or 12
    distortion coefficients in OpenCV's order, or 4 of a fisheye; `note`: is told, in one sentence each, what was
    asked for and cannot be had, and what takes long; `keep`: give the features along that `recall` needs.
    """

    device: str = "cpu"
    num_aug: int = 1
    precision: str = "auto"
    compiled: bool = False
    lens: tuple[float, ...] = ()
    note: Callable[[str], None] = field(default=lambda _: None, compare=False)
    keep: bool = False


def localizer_names() -> list[str]:
    """All names that `create_localizer` takes here: the shipped localizers, then the user's installed weights."""
    from backend.nlf.weights import installed

    return [*SHIPPED, *(found.name for found in installed())]


def create_localizer(name: str, body: Body, options: LocalizerOptions = LocalizerOptions()) -> Localizer:
    """`name` from `localizer_names()`.

    Raises JobError: "bad_options" for an unknown name or options that this localizer does not have,
    "bad_weights" for damaged files.
    """
    if name in SHIPPED:
        if options.num_aug > 1 or options.lens:
            asked = "several views of a person" if options.num_aug > 1 else "lens distortion"
            text = (
                f"The localizer '{name}' does not know {asked}: leave it out, or install NLF weights with "
                "'weights add'."
            )
            raise JobError("bad_options", text)
        return _shipped(name, body, options)
    from backend.nlf.neural import NeuralLocalizer
    from backend.nlf.weights import installed, open_weights, survey

    if name not in (found.name for found in installed()):
        # Weights that are there but broken have a sentence of their own.
        known = [f"There is no localizer called '{name}': choose one of {', '.join(localizer_names())}."]
        reasons = [text for text in survey()[1] if name in text]
        raise JobError("bad_options", (reasons + known)[0])
    return NeuralLocalizer(open_weights(name), body, options)


def _shipped(name: str, body: Body, options: LocalizerOptions) -> Localizer:
    if name == OWN:
        from backend.nlf.lite_localizer import LiteLocalizer

        return LiteLocalizer(body, options)
    from backend.nlf.landmarks import LandmarksLocalizer

    return LandmarksLocalizer(name.removeprefix("landmarks-"), body, options.device)
