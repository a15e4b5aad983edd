"""From the body at hand to the canonical space of a model's weights.

Official weights know places of the SMPL neutral mean body in its canonical pose (docs/nlf.md 10.1). A user's SMPL-X
file has the same mesh as the canonical vertices that come with the weights; any other body is laid onto that volume
once, and the result is kept beside the weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.errors import JobError
from backend.localizers.nlf.weights import OfficialWeights
from backend.volumes.map import VolumeMap, map_same_mesh, map_volumes
from backend.volumes.model import VolumeModel, start
from backend.volumes.volume import CanonicalVolume, volume_of_body
from blender_addon.shared.home import home_folder
from blender_addon.shared.whole import write_whole

_EDITION = 1
"""Counts changes of the way volumes are laid onto each other: older files are made anew."""


def space_of(weights: OfficialWeights, body: Body, note: Callable[[str], None]) -> VolumeMap:
    """The map between `body`'s rest volume and the canonical space of `weights`.

    Takes up to a minute for a body that was not met before, of which `note` is told. JobError("bad_weights") if
    the weights came without any body to go by.
    """
    known = weights.volume("smplx")
    if known is not None and body.name == "smplx" and len(known.vertices) == len(body.v_template):
        return map_same_mesh(body, known.vertices)
    volume = weights.volume("smpl") or known
    if volume is None:
        raise JobError(
            "bad_weights",
            f"The weights {weights.info.name} came without canonical vertices, so that points of a body cannot be "
            "found in their space: add them again together with nlf_data_files.zip.",
        )
    return kept_map(body, volume, weights.info.folder / "maps", weights.info.name, note)


def rest_places(body: Body, points: CanonicalPoints, own: Body, note: Callable[[str], None]) -> np.ndarray:
    """(P, 3) where `points` of `body` lie in the rest pose of `own`, the shipped body that our own field knows.

    Another body takes up to a minute when it is met for the first time, of which `note` is told.
    """
    if body.name == own.name:
        return points.positions
    found = kept_map(own, volume_of_body(body), home_folder() / "maps", "Bodyfield's own localizer", note)
    return found.to_body(VolumeModel(body, np.zeros(0, int)).points(start(body.n_betas), points))


def kept_map(
    body: Body, volume: CanonicalVolume, folder: Path, who: str, note: Callable[[str], None]
) -> VolumeMap:
    """The map between `body` and `volume` that is kept in `folder`; made and kept if there is none, which takes up
    to a minute and of which `note` is told. `who`: knows the volume."""
    kept = folder / f"{_digest(body, volume)}.npz"
    found = _read(kept, body)
    if found is None:
        note(f"Laying the body onto the volume that {who} knows: once, for up to a minute.")
        found = map_volumes(body, volume)
        _keep(found, kept)
    return found


def _digest(body: Body, volume: CanonicalVolume) -> str:
    hashed = hashlib.sha256(f"edition {_EDITION}".encode())
    figure = (
        body.v_template,
        body.faces,
        body.weights,
        body.joints_template,
        body.shapedirs,
        body.joints_shapedirs,
    )
    faces = np.zeros(0) if volume.faces is None else volume.faces
    joints = [volume.joints[name] for name in sorted(volume.joints)]
    for array in (
        *figure,
        *(() if body.posedirs is None else (body.posedirs,)),
        volume.vertices,
        faces,
        *joints,
    ):
        hashed.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()[:24]


def _read(file: Path, body: Body) -> VolumeMap | None:
    """A kept map, or None if there is none that can be read: it is then made anew."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as archive:
            return VolumeMap.from_arrays(body, dict(archive))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _keep(made: VolumeMap, file: Path) -> None:
    """Best effort: without a place to keep it, the map is made again next time."""
    with contextlib.suppress(OSError):
        write_whole(file, lambda out: np.savez(out, **made.to_arrays()))
