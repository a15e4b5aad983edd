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
    """`shards`: folders of rendered pictures (*.npz); empty: pictures are rendered while training, with poses from
    the file `motion` and the pictures in `backgrounds`. `share`: of each batch."""

    share: float = 1.0
    shards: tuple[str, ...] = ()
    motion: str = ""
    backgrounds: str = ""
    shake: Shake = field(default_factory=Shake)
    looks: Looks = field(default_factory=Looks)


@dataclass(frozen=True)
class Real:
    """`shards`: folders of real pictures with a teacher's landmarks; `share`: of each batch; `weight`: in the loss;
    `depth`: whether the teacher's 3D is believed too."""

    share: float = 0.0
    shards: tuple[str, ...] = ()
    weight: float = 0.3
    depth: bool = True
    shake: Shake = field(default_factory=lambda: Shake(zoom=1.15))
    looks: Looks = field(default_factory=Looks)


@dataclass(frozen=True)
class Data:
    """`body`: a licensed SMPL-X file, empty for the open body; `points`: canonical points of each stream's batch;
    `inside`: share of inner ones among those drawn; `sources`: datasets (see docs/datasets.md)."""

    body: str = ""
    points: int = 192
    inside: float = 0.3
    synthetic: Synthetic = field(default_factory=Synthetic)
    real: Real = field(default_factory=Real)
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Lifting:
    """The stage before the first picture. `steps`: 0 leaves it out; `motion`: npz of body poses; `batch`: bodies a
    step; `points`: of each beside joints and landmarks; `bank`: poses drawn once; `along`: bodies in every later
    step, beside the pictures, so that nothing is forgotten; `apart`: the pictures do not change the lifter."""

    steps: int = 0
    motion: str = ""
    batch: int = 512
    points: int = 64
    lr: float = 1e-3
    ema: float = 0.998
    bank: int = 20_000
    along: int = 0
    apart: bool = True


@dataclass(frozen=True)
class Optim:
    """`batch`: pictures a step, of all processes together; `lr`, `trunk_lr`: peaks; `trunk_from`: step from which
    the trunk learns; `warmup`: steps; `final`: learning rate at the end, in peaks (cosine); `ema`: decay of the
    averaged weights; `clip`: largest norm of the gradient; `freeze`, `freeze_branch`: which part of the trunk and of
    the branch never learns; the branch has the trunk's rates."""

    steps: int = 10_000
    batch: int = 16
    lr: float = 5e-4
    trunk_lr: float = 1e-4
    trunk_from: int = 0
    warmup: int = 300
    final: float = 0.02
    weight_decay: float = 0.01
    ema: float = 0.999
    clip: float = 1.0
    direct2d: float = 0.5
    freeze: str = "none"
    freeze_branch: str = "none"


@dataclass(frozen=True)
class Run:
    """`threads`: of torch in every process, 0 for its own choice; `workers`: processes that prepare pictures;
    `ahead`: those processes run the trunk too, if it never learns (two cores then do the work of one trainer);
    the rest: steps between reports, judgements, checkpoints and pictures; `keep`: checkpoints."""

    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    threads: int = 1
    workers: int = 1
    ahead: bool = False
    log: int = 20
    judge: int = 500
    save: int = 500
    pictures: int = 1000
    keep: int = 2


@dataclass(frozen=True)
class Recipe:
    """All of it. `start`: weights (.safetensors) of the same model to begin with; empty: BlazePose's trunk."""

    model: FieldConfig = field(default_factory=FieldConfig)
    start: str = ""
    data: Data = field(default_factory=Data)
    lifting: Lifting = field(default_factory=Lifting)
    optim: Optim = field(default_factory=Optim)
    run: Run = field(default_factory=Run)

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
