"""Recognise NLF's crop model in an archive, by the names and sizes of its tensors (docs/nlf.md 11).

A TorchScript of the release holds everything; a checkpoint of the crop model alone lacks the seven tensors that are
constants of the training code, see `datafiles`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from backend.files.pickles.inert import Refusal, TensorRef, said
from backend.localizers.nlf.crop_model import CENTERS, CONSTANTS, LEFTS
from backend.localizers.nlf.weights.archive import TorchArchive
from backend.localizers.nlf.weights.blank import blank_model
from backend.localizers.nlf.weights.bodies import BODY_KINDS, body_tensors
from backend.localizers.nlf.weights.skeletons import Skeleton, make_skeletons
from backend.localizers.nlf.weights.tree import child, sequence, tensors
from backend.nets.efficientnet import SIZES
from backend.nets.heatmaps import BOX_SIZE_M

_ANCHORS = ("heatmap_head.layer.0.weight", "canonical_lefts", "backbone.1.0.0.weight")
"""By any of these the crop model is found in whatever it is wrapped in."""
COUNTER = ".num_batches_tracked"
_MAX_JOINTS = 10_000
_HEAD_SETTINGS = {
    "stride_test": 32,
    "centered_stride": True,
    "depth": 8,
    "box_size_m": BOX_SIZE_M,
    "backbone_link_dim": 512,
    "uncert_bias": 0.0,
    "uncert_bias2": 0.001,
    "weak_perspective": False,
}
"""What the head of every released model was trained with; another value would need another `CropModel`."""


@dataclass(frozen=True)
class Found:
    """A crop model in an archive."""

    size: str
    """Of the network, "s" or "l"."""
    lefts: int
    """Joints on the left."""
    centers: int
    """Joints in the middle."""
    tensors: dict[str, TensorRef]
    """By the names of `CropModel(size).state_dict()`: all but step counters that the file leaves out."""
    constants: dict[str, TensorRef] = field(default_factory=dict)
    """By the short names of `CONSTANTS`, all seven or none."""
    missing_constants: tuple[str, ...] = ()
    """Full names of those that the file lacks."""
    fix_uncert_factor: bool = False
    """How the model was trained, see `nets.losses.Norm`."""
    white: bool | None = None
    """Whether it pads with white; None: the file does not say."""
    skeletons: dict[str, Skeleton] = field(default_factory=dict)
    """By name."""
    bodies: dict[str, dict[str, TensorRef]] = field(default_factory=dict)
    """Tensors of embedded bodies by kind; empty for broken ones."""
    subsets: dict[str, TensorRef] = field(default_factory=dict)
    """Places of 1024 vertices and of the joints of each kind in canonical space."""

    @property
    def joints(self) -> int:
        """Rows of `CropModel.canonical_locs`."""
        return 2 * self.lefts + self.centers


@cache
def expected_shapes(size: str, lefts: int = LEFTS, centers: int = CENTERS) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of a crop model's state dict."""
    state = blank_model(size, lefts=lefts, centers=centers).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}


def constant_shapes(joints: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of CONSTANTS by short name."""
    constants = blank_model("s", lefts=0, centers=joints).constants()
    return {short: tuple(value.shape) for short, value in constants.items()}


def recognise(archive: TorchArchive) -> Found:
    """The crop model in `archive`. Raises Refusal that names the first tensor that is missing or wrong."""
    every = tensors(archive.root)
    prefix = _prefix(every)
    here = {n.removeprefix(prefix): t for n, t in every.items() if n.startswith(prefix)}
    lefts, centers = _sides(here)
    size = max(SIZES, key=lambda s: _matches(here, expected_shapes(s, lefts, centers)))
    model = _complete(here, size, lefts, centers)
    root, base = archive.root, prefix.rstrip(".")
    _check_settings(child(root, base), size)
    constants, missing = _constants(here, 2 * lefts + centers)
    fixed = child(root, f"{prefix}heatmap_head.fix_uncert_factor", False)
    outer = base.rpartition(".")[0]
    whites = (child(root, f"{place}.pad_white_pixels".lstrip(".")) for place in (outer, base))
    white = next((w for w in whites if isinstance(w, bool)), None)
    subsets = child(root, f"{outer}.cano_all".lstrip("."), {})
    return Found(
        size, lefts, centers, model, constants, missing, bool(fixed), white,
        skeletons=_skeletons(archive, outer, 2 * lefts + centers),
        bodies={k: refs for k in BODY_KINDS if (refs := body_tensors(every, outer, k)) is not None},
        subsets={
            k: ref
            for k in BODY_KINDS
            if isinstance(ref := child(subsets, k), TensorRef) and _is_places(ref)
        },
    )  # fmt: skip


def _prefix(every: dict[str, TensorRef]) -> str:
    """What stands before the crop model's own names."""
    candidates = {n[: -len(a)] for n in every for a in _ANCHORS if n == a or n.endswith(f".{a}")}
    if not candidates:
        raise Refusal(
            f"it holds {len(every)} tensors of another network than NLF ({_ANCHORS[0]} is missing)"
            if every
            else "it holds no tensors"
        )
    names = expected_shapes("s").keys() | expected_shapes("l").keys()
    return max(candidates, key=lambda p: sum(p + n in every for n in names))


def _sides(here: dict[str, TensorRef]) -> tuple[int, int]:
    lefts, centers = here.get("canonical_lefts"), here.get("canonical_centers")
    counts = (
        lefts.shape[0] if lefts and len(lefts.shape) == 2 else LEFTS,
        centers.shape[0] if centers and len(centers.shape) == 2 else CENTERS,
    )
    if max(counts) > _MAX_JOINTS:
        raise Refusal(f"it has {max(counts)} joints on a side, more than {_MAX_JOINTS}")
    return counts


def _matches(here: dict[str, TensorRef], wanted: dict[str, tuple[int, ...]]) -> int:
    return sum(n in here and here[n].shape == shape for n, shape in wanted.items())


def _complete(here: dict[str, TensorRef], size: str, lefts: int, centers: int) -> dict[str, TensorRef]:
    """The tensors of the model, after making sure that they are all there and nothing is too many."""
    wanted = expected_shapes(size, lefts, centers)
    title = f"NLF-{size.upper()}"
    wrong = []
    for name, shape in wanted.items():
        ref = here.get(name)
        if ref is None and not name.endswith(COUNTER):
            wrong.append(f"its {name} is missing")
        elif ref is not None and ref.shape != shape and not name.endswith(COUNTER):
            wrong.append(f"its {name} has the size {_by(ref.shape)}, not {_by(shape)} as in {title}")
        elif ref is not None and not name.endswith(COUNTER) and not ref.dtype.is_floating_point:
            wrong.append(f"its {name} holds whole numbers")
    for name in here:
        # Other extras are statistics of the training's norm, or do not belong to the network.
        layer = name.startswith(("backbone.1.", "heatmap_head.")) and name.endswith((".weight", ".bias"))
        if layer and name not in wanted:
            wrong.append(f"its {said(name)} is no part of {title}")
    if wrong:
        more = f" (and {len(wrong) - 1} more of its tensors do not fit)" if len(wrong) > 1 else ""
        raise Refusal(wrong[0] + more)
    return {name: here[name] for name in wanted if name in here}


def _constants(here: dict[str, TensorRef], joints: int) -> tuple[dict[str, TensorRef], tuple[str, ...]]:
    """All seven constants, or none and what is missing."""
    wanted = constant_shapes(joints)
    missing = tuple(name for name in CONSTANTS.values() if name not in here)
    if missing:
        return {}, missing
    for short, name in CONSTANTS.items():
        if _squeezed(here[name].shape) != _squeezed(wanted[short]):
            raise Refusal(f"its {name} has the size {_by(here[name].shape)}, not {_by(wanted[short])}")
    return {short: here[name] for short, name in CONSTANTS.items()}, ()


def _check_settings(model: Any, size: str) -> None:
    """Settings that a TorchScript tells and a state dict does not."""
    wanted = {f"heatmap_head.{name}": value for name, value in _HEAD_SETTINGS.items()}
    wanted |= {"heatmap_head.proc_side": SIZES[size].side, "input_resolution": SIZES[size].side}
    for path, value in wanted.items():
        found = child(model, path)
        if isinstance(found, (bool, int, float)) and abs(found - value) > 1e-9:
            raise Refusal(f"it was trained with {path} = {found}, not {value} as the released models")


def _skeletons(archive: TorchArchive, outer: str, joints: int) -> dict[str, Skeleton]:
    parts = [
        child(archive.root, f"{outer}.per_skeleton_{part}".lstrip("."))
        for part in ("joint_names", "indices", "joint_edges")
    ]
    labels, indices, edges = (part if isinstance(part, dict) else {} for part in parts)
    found = {}
    for name, texts in labels.items():
        if isinstance(name, str) and name in indices:
            found[name] = (
                sequence(texts),
                _numbers(archive, indices[name]),
                _numbers(archive, edges.get(name)),
            )
    return make_skeletons(found, joints)


def _numbers(archive: TorchArchive, value: Any) -> Any:
    if not isinstance(value, TensorRef):
        return sequence(value)
    if value.numel > 100_000 or value.dtype.is_floating_point:
        raise Refusal("one of its skeletons is damaged")
    return archive.load(value).tolist()


def _is_places(ref: TensorRef) -> bool:
    return (
        len(ref.shape) == 2
        and ref.shape[1] == 3
        and 0 < ref.shape[0] <= 100_000
        and ref.dtype.is_floating_point
    )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape) or "one number"
