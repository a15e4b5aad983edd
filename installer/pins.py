"""What to install: the versions in pyproject.toml, and whether pip's plan for torch fits this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from installer import ROOT, SetupError

TORCH_LIMIT = 600e6
"""Bytes of a torch wheel above which it must be a GPU build: CPU builds are below 300 MB."""


def project(root: Path = ROOT) -> dict:
    """The table of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def pins(group: str, python: tuple[int, int] | None = None) -> list[str]:
    """Requirements of `group` ("base", "blender", "test", "fbx", "pip") for a Python version, markers resolved."""
    tables = project()
    if group == "pip":
        return [tables["tool"]["bodyfield"]["pip"]]
    table = tables["project"]
    lines = table["dependencies"] if group == "base" else table["optional-dependencies"][group]
    python = python or sys.version_info[:2]
    split = [line.partition(";") for line in lines]
    return [name.strip() for name, _, marker in split if _marker_holds(marker, python)]


def pin_of(package: str) -> str:
    """The one line of the base group that pins `package`, as "name==version"."""
    found = [line for line in pins("base") if line.startswith(package + "==")]
    if not found:
        raise SetupError(f"pyproject.toml pins no version of {package}.")
    return found[0]


def _marker_holds(marker: str, python: tuple[int, int]) -> bool:
    """Whether `python_version <op> 'X.Y'` holds (the only kind of marker that pyproject.toml uses)."""
    if not marker.strip():
        return True
    found = re.fullmatch(r"\s*python_version\s*(==|>=|<)\s*'(\d+)\.(\d+)'\s*", marker)
    if not found:
        raise SetupError(
            f"pyproject.toml holds the marker '{marker.strip()}', which the installer cannot read."
        )
    version = (int(found[2]), int(found[3]))
    return {"==": python == version, ">=": python >= version, "<": python < version}[found[1]]


def nvidia_gpu() -> str | None:
    """Name of an NVIDIA GPU that the driver reports, else None. Never loads torch for it."""
    tool = shutil.which("nvidia-smi")
    if os.name == "nt" and not tool:
        system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvidia-smi.exe"
        tool = str(system) if system.exists() else None
    if tool:
        said = subprocess.run(
            [tool, "-L"], capture_output=True, text=True, errors="replace", check=False
        ).stdout
        found = re.search(r"GPU \d+: ([^(\n]+)", said)
        if found:
            return found[1].strip()
    return "NVIDIA (driver loaded)" if Path("/proc/driver/nvidia/version").exists() else None


def torch_refusal(report: dict, size: float | None) -> str | None:
    """Why the plan in pip's dry-run `report` must not be carried out without an NVIDIA GPU, or None.

    `size`: bytes of the torch wheel where known.
    """
    names = [item["metadata"]["name"].lower() for item in report.get("install", [])]
    cuda = [n for n in names if n.startswith(("nvidia-", "nvidia_", "cuda-", "cuda_"))]
    if not cuda and (size or 0) <= TORCH_LIMIT:
        return None
    what = f"{len(cuda)} CUDA packages, several GB" if cuda else f"a torch of {size / 1e6:.0f} MB"
    return (
        f"pip would install {what}, and no NVIDIA GPU was found: give --torch-index URL with the address of "
        "PyTorch's own CPU package index (it ends in /whl/cpu; see its 'Get started' page), or --wheels DIR."
    )
