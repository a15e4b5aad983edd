"""The recipe of a training, read from TOML. Every key is checked; what is wrong is said in one sentence."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from backend.errors import JobError
from backend.localizers.field.model import FieldConfig
from backend.localizers.field.trunk import TRUNKS
from backend.train.datasets.source import Source, source_rules
from backend.train.streams.augment import Looks
from backend.train.streams.framing import Shake

FREEZE = ("none", "stride4", "stride8", "stride16", "all")


@dataclass(frozen=True)
class Synthetic:
    """Rendered people."""

    share: float = 1.0
    """Of each batch, 0..1."""
    shards: tuple[str, ...] = ()
    """Folders of rendered pictures (*.npz)."""
    motion: str = ""
    """Not read: the pictures in `shards` are rendered beforehand."""
    backgrounds: str = ""
    """Not read, like `motion`."""
    shake: Shake = field(default_factory=Shake)
    """How inexactly the people are cropped."""
    looks: Looks = field(default_factory=Looks)
    """How the crops are changed."""


@dataclass(frozen=True)
class Real:
    """Real pictures with a teacher's landmarks."""

    share: float = 0.0
    """Of each batch, 0..1."""
    shards: tuple[str, ...] = ()
    """Folders of the pictures (*.npz, see `backend.train.gather`)."""
    weight: float = 0.3
    """In the loss."""
    depth: bool = True
    """Whether the teacher's 3D is believed too."""
    shake: Shake = field(default_factory=lambda: Shake(zoom=1.15))
    """How inexactly the people are cropped."""
    looks: Looks = field(default_factory=Looks)
    """How the crops are changed."""


@dataclass(frozen=True)
class Data:
    """What is learnt from."""

    body: str = ""
    """A licensed SMPL-X file; empty for the open body."""
    points: int = 192
    """Canonical points of each stream's batch."""
    inside: float = 0.3
    """Share of inner points among those that are drawn."""
    synthetic: Synthetic = field(default_factory=Synthetic)
    """Rendered people."""
    real: Real = field(default_factory=Real)
    """Real pictures with a teacher's landmarks."""
    sources: tuple[Source, ...] = ()
    """Datasets (see docs/datasets.md)."""


@dataclass(frozen=True)
class Lifting:
    """The stage before the first picture."""

    steps: int = 0
    """How many; 0 leaves the stage out."""
    motion: str = ""
    """npz of body poses."""
    batch: int = 512
    """Bodies a step."""
    points: int = 64
    """Points of each body, beside joints and landmarks."""
    lr: float = 1e-3
    """Peak of the learning rate."""
    ema: float = 0.998
    """Decay of the averaged weights."""
    bank: int = 20_000
    """Poses that are drawn once, before the first step."""
    along: int = 0
    """Bodies in every later step, beside the pictures, so that nothing is forgotten."""
    apart: bool = True
    """Whether the pictures leave the lifter as it is."""


@dataclass(frozen=True)
class Optim:
    """How the weights are changed. The branch has the trunk's learning rates."""

    steps: int = 10_000
    """Steps of the training, without those of `Lifting`."""
    batch: int = 16
    """Pictures a step, of all processes together."""
    lr: float = 5e-4
    """Peak of the learning rate."""
    trunk_lr: float = 1e-4
    """Peak of the trunk's learning rate."""
    trunk_from: int = 0
    """Step from which the trunk learns."""
    warmup: int = 300
    """Steps in which the learning rate rises to its peak."""
    final: float = 0.02
    """Learning rate at the end, as a share of the peak; it falls along a cosine."""
    weight_decay: float = 0.01
    """Of matrices outside trunk and branch."""
    ema: float = 0.999
    """Decay of the averaged weights."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    direct2d: float = 0.5
    """Weight of the heat map's own pixels in the loss."""
    freeze: str = "none"
    """Which part of the trunk never learns: one of `FREEZE`."""
    freeze_branch: str = "none"
    """Which part of the branch never learns: one of `FREEZE`."""


@dataclass(frozen=True)
class Run:
    """How the training runs."""

    seed: int = 0
    """Of everything that is random."""
    device: str = "auto"
    """cpu, cuda or another of torch's; auto for cuda if there is one, else cpu."""
    precision: str = "fp32"
    """fp32 or bf16."""
    threads: int = 1
    """Of torch in every process; 0 for torch's own choice."""
    workers: int = 1
    """Processes that prepare pictures."""
    ahead: bool = False
    """Whether these processes run the trunk too, if it never learns: two cores then do the work of one trainer."""
    log: int = 20
    """Steps between reports."""
    judge: int = 500
    """Steps between judgements."""
    save: int = 500
    """Steps between checkpoints."""
    pictures: int = 1000
    """Steps between pictures of what the model finds."""
    keep: int = 2
    """Checkpoints that are kept."""


@dataclass(frozen=True)
class Recipe:
    """A whole training."""

    model: FieldConfig = field(default_factory=FieldConfig)
    """Shape of the network."""
    start: str = ""
    """Weights (.safetensors) of the same model to begin with; empty for BlazePose's trunk."""
    data: Data = field(default_factory=Data)
    """What is learnt from."""
    lifting: Lifting = field(default_factory=Lifting)
    """The stage before the first picture."""
    optim: Optim = field(default_factory=Optim)
    """How the weights are changed."""
    run: Run = field(default_factory=Run)
    """How the training runs."""

    def describe(self) -> dict[str, Any]:
        """Plain values, as JSON holds them."""
        return asdict(self)


def read_recipe(path: Path) -> Recipe:
    """The recipe in `path`; JobError("bad_config") for a file that is none. Relative places in it are
    relative to the folder that the training is started in."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise JobError("bad_config", f"{path} cannot be read: give a training recipe in TOML.") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise JobError("bad_config", f"{path.name} is not valid TOML: {e}.") from e
    recipe = _make(Recipe, raw, path.name, "")
    check(recipe, path.name)
    return recipe


def check(recipe: Recipe, name: str = "the recipe") -> None:
    """JobError("bad_config") for values that do not go together."""
    m, o, d, r = recipe.model, recipe.optim, recipe.data, recipe.run
    shares = d.synthetic.share + d.real.share + sum(s.share for s in d.sources)
    rules = [
        (m.trunk in TRUNKS, f"model.trunk must be one of {', '.join(TRUNKS)}"),
        (m.metric in ("told", "untold", "both"), "model.metric must be told, untold or both"),
        (m.branch in ("", *TRUNKS), f"model.branch must be empty or one of {', '.join(TRUNKS)}"),
        (
            not (recipe.lifting.steps or recipe.lifting.along) or recipe.lifting.motion,
            "lifting.motion must name a file of body poses",
        ),
        (m.grid in (16, 32), "model.grid must be 16 or 32"),
        (m.width % 8 == 0 and m.width > 0, "model.width must be a multiple of 8"),
        (o.freeze in FREEZE, f"optim.freeze must be one of {', '.join(FREEZE)}"),
        (o.freeze_branch in FREEZE, f"optim.freeze_branch must be one of {', '.join(FREEZE)}"),
        (not r.ahead or o.freeze == "all", 'run.ahead needs a trunk that never learns: optim.freeze = "all"'),
        (min(o.steps, o.batch) >= 1, "optim.steps and optim.batch must be at least 1"),
        (0 <= o.ema < 1, "optim.ema must lie between 0 and 1"),
        (
            abs(shares - 1) < 1e-6 and min(d.synthetic.share, d.real.share) >= 0,
            "the shares of data must add up to 1",
        ),
        (
            not d.real.share or d.real.shards,
            "data.real.share asks for pictures, so data.real.shards must name folders",
        ),
        (
            not d.synthetic.share or d.synthetic.shards or d.synthetic.motion,
            "data.synthetic needs folders in shards, or a file in motion to render with",
        ),
        (d.points >= 64, "data.points must be at least 64"),
        (r.precision in ("fp32", "bf16"), "run.precision must be fp32 or bf16"),
        (
            min(r.log, r.judge, r.save, r.pictures, r.keep) >= 1,
            "the numbers of steps in run must be at least 1",
        ),
    ]
    for fine, sentence in [*source_rules(d.sources), *rules]:
        if not fine:
            raise JobError("bad_config", f"{name}: {sentence}.")


def _make(kind: type, raw: Any, name: str, place: str) -> Any:
    if not isinstance(raw, dict):
        raise JobError("bad_config", f"{name}: {place or 'it'} must be a table.")
    known = {f.name: f for f in fields(kind)}
    hints = get_type_hints(kind)
    for key in raw:
        if key not in known:
            raise JobError(
                "bad_config",
                f"{name}: there is no '{_dotted(place, key)}'; known are {', '.join(sorted(known))}.",
            )
    return kind(**{key: _value(hints[key], value, name, _dotted(place, key)) for key, value in raw.items()})


def _value(hint: Any, value: Any, name: str, place: str) -> Any:
    if is_dataclass(hint):
        return _make(hint, value, name, place)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if getattr(hint, "__origin__", None) is tuple:
        kind = get_args(hint)[0]
        if is_dataclass(kind) and isinstance(value, list):
            return tuple(_make(kind, v, name, f"{place} {i}") for i, v in enumerate(value, 1))
        if isinstance(value, list) and all(isinstance(v, kind) for v in value):
            return tuple(value)
        raise JobError("bad_config", f"{name}: {place} must be a list of {_called(kind)}.")
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise JobError("bad_config", f"{name}: {place} must be {_called(kinds[0])}, not {value!r}.")
    return value


def _called(kind: type) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Source: "tables"}
    return names.get(kind, kind.__name__)


def _dotted(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
