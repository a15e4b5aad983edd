# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found of a clip's shots, lens and camera, in the words of the panel "Result"."""

import bpy

from ..languages.words import iface
from ..scene.shots import Told, clip_frame, told

SOURCES = {
    "given": "as given",
    "file": "from the file",
    "people": "from the people",
    "turning": "from the turning camera",
    "camera": "from the imported camera",
    "assumed": "assumed",
}
"""Where a lens comes from, see `Shot.lens_source`."""


def found(clip: bpy.types.Collection | None, frame: float) -> list[tuple[str, str]]:
    """Lines and icons: of the shot that a scene frame is in, and every sentence on what could not be solved."""
    shots = told(clip)
    if not any(one.fov_deg for one in shots):
        return []
    at = clip_frame(clip, frame)
    now = next((one for one in reversed(shots) if one.first <= at), shots[0])
    lines = []
    if len(shots) > 1:
        lines.append((iface("Shot {number} of {count}", number=now.number, count=len(shots)), "SEQUENCE"))
    lines += [
        (_lens(now), "CAMERA_DATA"),
        (_camera(now), "CON_CAMERASOLVER" if now.moving else "VIEW_CAMERA"),
    ]
    notes = dict.fromkeys(one.note for one in shots if one.note)
    return [*lines, *((note, "ERROR") for note in notes)]


def _lens(shot: Told) -> str:
    source = SOURCES.get(shot.lens_source)
    where = iface(source) if source else shot.lens_source
    if shot.fov_sigma_deg:
        return iface(
            "Lens {fov:.0f}° ± {sigma:.0f}° ({source})",
            fov=shot.fov_deg,
            sigma=max(1.0, shot.fov_sigma_deg),
            source=where,
        )
    return iface("Lens {fov:.0f}° ({source})", fov=shot.fov_deg, source=where)


def _camera(shot: Told) -> str:
    if shot.zooms:
        return iface("Camera: moving, zooms") if shot.moving else iface("Camera: still, zooms")
    return iface("Camera: moving") if shot.moving else iface("Camera: still")
