"""The road as the server sees it: everything heavy is loaded here, behind one door."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Road:
    """What a worker needs of the pipeline."""

    options: Callable[[Mapping[str, Any]], Any]
    """Checks a client's options; what it gives has `.load_body()` and `.pinhole(width, height)`."""
    mocap: Callable[..., Iterator[Any]]
    """`backend.pipeline.mocap`."""
    device: str
    """The torch device that the road works on."""
    localizers: tuple[str, ...] = ()
    """Names that a client may ask for."""
    points: Callable[..., Iterator[Any]] | None = None
    """`backend.recall.track.track_points`."""
    preview: Callable[..., Any] | None = None
    """A `backend.stills.preview.Previewer`."""
    landmarks: Callable[[Any], tuple[Any, Sequence[str]]] | None = None
    """`backend.body.landmarks.body_landmarks`; None for bodies without landmarks."""


def load_road(device: str = "auto") -> Road:
    """The real road. Imports torch, which takes seconds. Raises JobError("no_device") or ImportError."""
    from backend.body.landmarks import body_landmarks
    from backend.localizers.choose import localizer_names
    from backend.options import MocapOptions, choose_device
    from backend.pipeline import mocap
    from backend.recall.track import track_points
    from backend.stills.preview import Previewer

    chosen = choose_device(device)

    def options(given: Mapping[str, Any]) -> MocapOptions:
        wanted = dict(given)
        if wanted.get("device", "auto") == "auto":
            wanted["device"] = chosen
        return MocapOptions.from_dict(wanted)

    return Road(
        options,
        mocap,
        device=chosen,
        localizers=tuple(localizer_names()),
        points=track_points,
        preview=Previewer(chosen),
        landmarks=body_landmarks,
    )
