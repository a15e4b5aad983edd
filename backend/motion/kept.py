"""By what the pieces of a job's end are found again, see `jobs.pieces`: bodies, motions, and what else takes long."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from backend.body.model import Body, CanonicalPoints
from backend.fit.camerafitter import Fitter
from backend.fit.solver.skin import State
from backend.jobs.pieces import Pieces, digest
from backend.records import TrackChunk

_BACKEND = Path(__file__).resolve().parents[1]
_ROOMS = ("body", "camera", "fit", "motion")
"""Rooms whose code says what the end of a job comes to."""
_bodies: WeakKeyDictionary[Body, str] = WeakKeyDictionary()
T = TypeVar("T")


@lru_cache(maxsize=1)
def code() -> str:
    """A digest of all that solves: pieces of another release are not found."""
    files = [p for room in _ROOMS for p in sorted((_BACKEND / room).rglob("*.py"))]
    files += [_BACKEND / "assets" / name for name in ("temporal.safetensors", "pose_prior.npz")]
    return digest(torch.__version__, np.__version__,
                  *(digest(p.name, np.frombuffer(p.read_bytes(), np.uint8)) for p in files))  # fmt: skip


def basis(fitter: Fitter, points: CanonicalPoints) -> str:
    """A digest of what every fit of `fitter` to `points` stands on."""
    body = fitter.body
    if body not in _bodies:
        _bodies[body] = digest(body.name, body.v_template, body.weights, body.shapedirs, body.joints_template,
                               body.present)  # fmt: skip
    camera = fitter.camera
    return digest(code(), _bodies[body], points.positions, points.weights, points.shapedirs, fitter.num_betas,
                  str(fitter.device), camera.width, camera.height, camera.K)  # fmt: skip


def of_track(track: TrackChunk) -> str:
    """A digest of what was seen of somebody, whatever the number."""
    return digest(track.frames, track.times, track.boxes, track.points3d, track.points2d, track.uncertainty)


def kept_state(
    pieces: Pieces, name: str, make: Callable[[], Generator[int, None, State]], device: torch.device
) -> Generator[int, None, State]:
    """The bodies of the piece `name`, or else what `make` makes, which is kept from then on. Both are the same to the
    last bit."""
    found = pieces.get(name)
    if found is None:
        state = yield from make()
        found = {n: getattr(state, n).cpu().numpy() for n in _STATE}
        pieces.put(name, found)
    return State(*(torch.from_numpy(np.ascontiguousarray(found[n])).to(device) for n in _STATE))


_STATE = ("rotations", "root", "coefs", "log_scale")


def kept_value(pieces: Pieces, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """One array likewise."""
    found = pieces.get(name)
    if found is None:
        found = {"value": np.asarray(make())}
        pieces.put(name, found)
    return found["value"]


def kept_record(pieces: Pieces, name: str, kind: type[T], make: Callable[[], T]) -> T:
    """A dataclass of arrays, numbers and texts likewise; a field that may be None is None where it is left out."""
    found = pieces.get(name)
    if found is None:
        made = make()
        values = {f.name: getattr(made, f.name) for f in fields(kind)}
        pieces.put(name, {n: np.asarray(v) for n, v in values.items() if v is not None})
        return made
    return kind(**{n: a if a.ndim else a.item() for n, a in found.items()})


__all__ = ["basis", "code", "kept_record", "kept_state", "kept_value", "of_track"]
