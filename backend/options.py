"""What a job may be told: options with their defaults, checked in one place for the wire and the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from backend.body.load import load_body
from backend.body.model import Body
from backend.camera.pinhole import DEFAULT_FOV_DEG, Camera
from backend.errors import JobError
from backend.people.choice import PeopleChoice
from backend.people.edits import Edit, check_edits

_MAY_BE_NONE = ("fov_deg", "focal_px", "body", "people", "smooth_up", "smooth_across", "height")
LENSES = (4, 5, 8, 12)
"""How many numbers the distortion of a lens may have, see `camera.lens.COUNTS`."""
CAMERAS = ("auto", "still", "moving")
"""Values of `MocapOptions.camera`."""
FOOT_LOCKS = ("off", "auto", "always", "flat")
"""Values of `MocapOptions.foot_lock`."""


@dataclass(frozen=True)
class MocapOptions:
    """The options of one job."""

    localizer: str = "field"
    """A name, see `backend.localizers`."""
    max_people: int = 4
    """Tracks at a time."""
    fov_deg: float | None = None
    """Degrees that the picture's larger side spans, if known; 55 if `focal_px` is unknown too."""
    focal_px: float | None = None
    """Focal length in pixels, if known; it goes before `fov_deg`."""
    body: str | None = None
    """Path of a licensed SMPL-X, SMPL-H or SMPL file in place of the open body."""
    smooth: float = 1.0
    """How much movement is smoothed: 1 is normal, 0 gives every frame as it was seen."""
    smooth_up: float | None = None
    """The same for the root's movement up and down; None for `smooth`."""
    smooth_across: float | None = None
    """The same for the root's movement across the floor; None for `smooth`."""
    foot_lock: str = "auto"
    """off, auto (what rests on the floor stays where it is), always (a foot near the floor always rests on it) or flat
    (as always, soles flat)."""
    floor: bool = True
    """Whether everybody stands on one floor at z = 0; otherwise people stay where each was seen."""
    height: float | None = None
    """Metres that the person who is seen most is tall, if known; it sets the scale of all."""
    chunk: int = 32
    """Frames per saved and sent piece."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    keep_features: bool = True
    """Whether to keep in the job's folder what the localizer needs to find points that are added later."""
    engine: str = "auto"
    """By which the frozen networks run: auto, torch or onnxruntime."""
    workers: int = 0
    """Pictures that are looked at side by side, at most; 0 for as many as there are cores. It changes no result."""
    people: PeopleChoice | None = None
    """Follow only these, however many `max_people` allows."""
    edits: tuple[Edit, ...] = ()
    """Corrections of who is who, see `people.edits`."""
    camera: str = "auto"
    """How the camera was held: auto (as the picture tells), still or moving."""
    shots: bool = True
    """Whether cuts are looked for; otherwise the whole clip is one shot."""
    lens: tuple[float, ...] = ()
    """Distortion of the lens: 5, 8 or 12 coefficients in OpenCV's order, or 4 of a fisheye; empty for none."""
    camera_path: tuple[tuple[float, ...], ...] = ()
    """A solved camera: rows of frame, rotation vector from the world to the camera (3), place in the world (3) in
    metres and focal length in pixels; empty for none. It goes before `camera`."""

    def __post_init__(self) -> None:
        ranges = {
            "max_people": (1, 32),
            "fov_deg": (5, 170),
            "focal_px": (10, 1e6),
            "smooth": (0, 1000),
            "smooth_up": (0, 1000),
            "smooth_across": (0, 1000),
            "height": (0.4, 2.8),
            "chunk": (1, 1000),
            "workers": (0, 256),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise JobError(
                    "bad_options",
                    f"The option '{name}' must lie between {low:g} and {high:g}, not {value:g}.",
                )
        for name, known in {"foot_lock": FOOT_LOCKS, "camera": CAMERAS}.items():
            if getattr(self, name) not in known:
                text = f"The option '{name}' must be one of {', '.join(known)}, not '{getattr(self, name)}'."
                raise JobError("bad_options", text)
        if len(self.lens) not in (0, *LENSES):
            text = f"The option 'lens' must have 4, 5, 8 or 12 numbers, not {len(self.lens)}."
            raise JobError("bad_options", text)

    @classmethod
    def from_dict(cls, given: Mapping[str, object]) -> MocapOptions:
        """Options from a JSON object. Raises JobError("bad_options") that names the key at fault."""
        kinds = {"localizer": str, "max_people": int, "body": str, "chunk": int, "device": str,
                 "keep_features": bool, "engine": str, "workers": int, "foot_lock": str, "floor": bool,
                 "camera": str, "shots": bool}  # fmt: skip
        known = {f.name for f in fields(cls)}
        values: dict[str, object] = {}
        for key, value in given.items():
            if key not in known:
                raise JobError(
                    "bad_options", f"There is no option '{key}': choose from {', '.join(sorted(known))}."
                )
            if value is None and key in _MAY_BE_NONE:
                continue
            if key == "people":
                values[key] = PeopleChoice.from_dict(value)
                continue
            if key == "edits":
                values[key] = check_edits(value)
                continue
            if key in ("lens", "camera_path"):
                values[key] = _numbers(key, value, 8 if key == "camera_path" else None)
                continue
            kind = kinds.get(key, float)
            right = isinstance(value, (int, float) if kind is float else kind)
            right = right and isinstance(value, bool) == (kind is bool)
            if not right:
                raise JobError("bad_options", f"The option '{key}' must be a {kind.__name__}, not {value!r}.")
            values[key] = kind(value)
        return cls(**values)

    def to_dict(self) -> dict[str, object]:
        """A JSON object that `from_dict` takes back."""
        given = asdict(self) | {"edits": [e.to_dict() for e in self.edits]}
        if self.people is not None:
            kind = "boxes" if self.people.boxes else "points"
            given["people"] = {
                "frame": self.people.frame,
                kind: [list(r) for r in getattr(self.people, kind)],
            }
        return given

    def pinhole(self, width: int, height: int) -> Camera:
        """The camera of a clip of `width` x `height` pixels."""
        if self.focal_px is not None:
            return Camera.from_focal(width, height, self.focal_px)
        return Camera.from_fov(width, height, self.fov_deg if self.fov_deg is not None else DEFAULT_FOV_DEG)

    def load_body(self) -> Body:
        """The body that results refer to. Raises JobError("bad_body")."""
        return load_body(Path(self.body) if self.body else None)


def _numbers(key: str, given: object, width: int | None) -> tuple:
    """A list of numbers, or of rows of `width` of them. Raises JobError("bad_options")."""
    rows = given if isinstance(given, (list, tuple)) else None
    flat = rows if width is None else [v for r in rows or () if isinstance(r, (list, tuple)) for v in r]
    if rows is None or (
        width is not None and any(not isinstance(r, (list, tuple)) or len(r) != width for r in rows)
    ):
        what = "numbers" if width is None else f"rows of {width} numbers"
        raise JobError("bad_options", f"The option '{key}' must be a list of {what}.")
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) or not math.isfinite(v) for v in flat):
        raise JobError("bad_options", f"The option '{key}' must hold numbers only.")
    if width is None:
        return tuple(float(v) for v in rows)
    return tuple(tuple(float(v) for v in r) for r in rows)


def choose_device(name: str = "auto") -> str:
    """`auto` -> cuda, then mps, then cpu; anything else is checked. Raises JobError("no_device")."""
    import torch

    mps = getattr(torch.backends, "mps", None)
    have_mps = mps is not None and mps.is_available()
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if have_mps else "cpu"
    kind = name.split(":")[0]
    if kind == "cpu" or (kind == "cuda" and torch.cuda.is_available()) or (kind == "mps" and have_mps):
        return name
    raise JobError(
        "no_device", f"The device '{name}' is not there: choose auto, or one of those that doctor lists."
    )
