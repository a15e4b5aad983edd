# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the end of a job: camera, cuts, floor, feet, smoothing, height. They can be chosen before and after
an import."""

import math
from collections.abc import Mapping

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty

from ..languages.words import OWN

LOCKS = (
    ("off", "Off", "Feet move as they were seen"),
    ("auto", "Auto", "What rests on the floor stays where it is"),
    ("always", "Always", "A foot near the floor always rests on it"),
    ("flat", "Keep Flat", "A foot near the floor always rests on it, with a flat sole"),
)
CAMERAS = (
    ("auto", "Auto", "As the picture tells: whether the camera turned, was carried or stood still"),
    ("still", "Still", "The camera stood on a tripod: nothing of the picture's movement is its own"),
    (
        "moving",
        "Moving",
        "The camera turned or was carried: its way is found from what lies behind the people",
    ),
)
STRONGEST = 1000.0
"""Most smoothing that the backend takes."""
_OF_PROPERTIES = {
    "smooth_up": ("smooth_root", "smooth_up"),
    "smooth_across": ("smooth_root", "smooth_across"),
    "fov_deg": ("fov",),
}
"""Options that do not come of the one property of the same name."""


class MotionChoices:
    """The settings, shared by the import, the panel and *Update Motion*."""

    camera: EnumProperty(
        name="Camera",
        description="How the camera was held",
        items=CAMERAS,
        translation_context=OWN,
        default="auto",
    )
    fov: FloatProperty(
        name="Field of View",
        description="Angle over the larger side of the picture, degrees; 0: find it out from the people",
        subtype="ANGLE",
        default=0.0,
        min=0.0,
        max=math.radians(170),
        soft_min=0.0,
        soft_max=math.radians(120),
    )
    shots: BoolProperty(
        name="Find Cuts",
        description="Look for cuts: each shot has people, a floor and a camera of its own; off: the clip is one shot",
        default=True,
    )
    floor: BoolProperty(
        name="Floor",
        description="Let everybody stand on one floor at height 0; otherwise people stay where each was seen",
        default=True,
    )
    foot_lock: EnumProperty(
        name="Foot Lock",
        description="Whether feet that rest on the floor are held where they are",
        items=LOCKS,
        translation_context=OWN,
        default="auto",
    )
    smooth: FloatProperty(
        name="Smoothing",
        description="How much movement is smoothed: 1 is normal, 0 leaves every frame as it was seen",
        default=1.0,
        min=0.0,
        max=STRONGEST,
        soft_max=10.0,
    )
    smooth_root: BoolProperty(
        name="Separate Root",
        description="Smooth the way of the whole body by strengths of its own",
    )
    smooth_up: FloatProperty(
        name="Up/Down",
        description="How much the way up and down is smoothed: less keeps jumps and squats sharp",
        default=1.0,
        min=0.0,
        max=STRONGEST,
        soft_max=10.0,
    )
    smooth_across: FloatProperty(
        name="Across",
        description="How much the way over the floor is smoothed",
        default=1.0,
        min=0.0,
        max=STRONGEST,
        soft_max=10.0,
    )
    height: FloatProperty(
        name="Height",
        description="How tall the person is who is seen most, which sets the scale of everything; 0: not known",
        unit="LENGTH",
        default=0.0,
        min=0.0,
        max=2.8,
        precision=3,
    )


def motion_options(choices: MotionChoices) -> dict[str, object]:
    """The backend's options from the settings."""
    apart = choices.smooth_root
    return {
        "camera": choices.camera,
        "fov_deg": _degrees(choices.fov),
        "shots": choices.shots,
        "floor": choices.floor,
        "foot_lock": choices.foot_lock,
        "smooth": _plain(choices.smooth),
        "smooth_up": _plain(choices.smooth_up) if apart else None,
        "smooth_across": _plain(choices.smooth_across) if apart else None,
        "height": _plain(choices.height) or None,
    }


def set_options(operator: bpy.types.Operator) -> dict[str, object]:
    """Those of the backend's options that the caller of an operator has set."""
    return {
        name: value
        for name, value in motion_options(operator).items()
        if any(map(operator.properties.is_property_set, _OF_PROPERTIES.get(name, (name,))))
    }


def show_options(choices: MotionChoices, options: Mapping[str, object]) -> None:
    """Set the settings to what a job was asked for; what `options` lack gets its default."""
    for name, known in (("camera", CAMERAS), ("foot_lock", LOCKS)):
        value = options.get(name)
        setattr(choices, name, value if value in [one for one, *_ in known] else "auto")
    choices.fov = math.radians(_number(options.get("fov_deg"), 0.0))
    choices.shots = bool(options.get("shots", True))
    choices.floor = bool(options.get("floor", True))
    choices.smooth = _number(options.get("smooth"), 1.0)
    choices.smooth_root = any(options.get(name) is not None for name in _OF_PROPERTIES)
    for name in _OF_PROPERTIES:
        setattr(choices, name, _number(options.get(name), choices.smooth))
    choices.height = _number(options.get("height"), 0.0)


def draw_motion(layout: bpy.types.UILayout, choices: MotionChoices) -> None:
    """The settings, as file browser, panel and dialog show them."""
    layout.prop(choices, "camera")
    row = layout.row()
    row.enabled = not getattr(choices, "focal", 0.0)
    row.prop(choices, "fov")
    layout.prop(choices, "shots")
    layout.prop(choices, "floor")
    layout.prop(choices, "foot_lock")
    layout.prop(choices, "smooth")
    layout.prop(choices, "smooth_root")
    if choices.smooth_root:
        column = layout.column(align=True)
        column.prop(choices, "smooth_up")
        column.prop(choices, "smooth_across")
    layout.prop(choices, "height")


def _degrees(angle: float) -> float | None:
    """Radians -> degrees as they were typed; None where there is nothing to say."""
    return round(math.degrees(angle), 3) or None


def _plain(value: float) -> float:
    """A number as it was typed: Blender keeps half of its digits."""
    return float(f"{value:.6g}")


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) else default
