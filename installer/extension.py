"""Build the zip that Blender installs: the add-on, wheels for Blender's Python, the backend as a wheel."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path

from installer import ROOT, SetupError
from installer.environment import Environment
from installer.files import aside
from installer.pins import pin_of, project
from installer.terminal import Line

PIP_PLATFORMS = {
    "linux-x64": ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"],
    "windows-x64": ["win_amd64"],
    "windows-arm64": ["win_arm64"],
    "macos-arm64": ["macosx_14_0_arm64"],
    "macos-x64": ["macosx_14_0_x86_64"],
}
"""Blender's platform names and the wheel tags that run there (pip adds the older macOS tags itself)."""
BLENDER_PYTHONS = ("3.11", "3.13")
"""Python of Blender 4.2 to 5.0, and of 5.1 and newer."""
SHARED = "shared"
"""The folder of the add-on that the backend uses too (Apache-2.0)."""
STABLE_ABI = ("-cp312-abi3-", "-cp312.cp313.cp314-none-")
"""Part of a wheel's name and what it becomes in the zip. Blender lets a wheel of the stable ABI count for "some Python
3" only, and refuses the whole extension on 3.13 when another wheel is for 3.11 alone; spelled out, both are served."""
LEFT_OUT = re.compile(r"(^|/)(__pycache__|tests|\.[^/]+)(/|$)|\.pyc$")
DATE = (2026, 1, 1, 0, 0, 0)
"""Time stamp of every file inside, so that the same sources make the same zip."""


def this_platform(system: str, machine: str) -> str:
    """Blender's name for a machine, from platform.system() and platform.machine()."""
    names = {"linux": "linux", "darwin": "macos", "windows": "windows"}
    chips = {"x86_64": "x64", "amd64": "x64", "arm64": "arm64", "aarch64": "arm64"}
    name = f"{names.get(system.lower(), system)}-{chips.get(machine.lower(), machine)}"
    if name not in PIP_PLATFORMS:
        raise SetupError(
            f"There is no Blender extension for {name}: give --platform one of {', '.join(PIP_PLATFORMS)}."
        )
    return name


def files_of(folder: Path) -> list[Path]:
    """What of a source folder is shipped, sorted."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return [p for p in found if not LEFT_OUT.search(p.relative_to(folder).as_posix())]


def backend_wheel(out: Path) -> Path:
    """Write the backend with its assets and the shared files as a wheel into `out`; returns its path."""
    table = project()["project"]
    name = f"{table['name']}-{table['version']}"
    info = f"{name}.dist-info"
    requires = [f"Requires-Dist: {line}" for line in table["dependencies"]]
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {table['name']}",
        f"Version: {table['version']}",
        f"Summary: {table['description']}",
        f"Requires-Python: {table['requires-python']}",
        f"License-Expression: {table['license']}",
        *requires,
    ]
    members = {f"backend/{p.relative_to(ROOT / 'backend').as_posix()}": p for p in files_of(ROOT / "backend")}
    shared = ROOT / "blender_addon" / SHARED
    members |= {f"blender_addon/{SHARED}/{p.relative_to(shared).as_posix()}": p for p in files_of(shared)}
    members |= {f"{info}/licenses/{n}": ROOT / n for n in ("LICENSE", "NOTICE")}
    content: dict[str, bytes] = {arc: path.read_bytes() for arc, path in members.items()}
    content[f"{info}/METADATA"] = ("\n".join(metadata) + "\n").encode()
    content[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: bodyfield\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    rows = [f"{arc},sha256={_sha(data)},{len(data)}" for arc, data in content.items()]
    content[f"{info}/RECORD"] = ("\n".join([*rows, f"{info}/RECORD,,"]) + "\n").encode()
    wheel = out / f"{name}-py3-none-any.whl"
    write_zip(wheel, content)
    return wheel


def _sha(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def write_zip(path: Path, content: dict[str, bytes]) -> None:
    """Write the zip, whole or not at all."""
    with aside(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for arc, data in content.items():
            entry = zipfile.ZipInfo(arc, DATE)
            entry.external_attr = 0o644 << 16
            packed = arc.endswith((".whl", ".npz", ".safetensors"))
            entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def manifest_with(text: str, platform: str, wheels: list[str]) -> str:
    """The add-on's manifest with its platform and wheels, written before the first table as TOML demands."""
    lines = ",\n".join(f'  "./wheels/{w}"' for w in wheels)
    added = f'platforms = ["{platform}"]\nwheels = [\n{lines},\n]\n'
    first = re.search(r"^\[", text, re.MULTILINE)
    at = first.start() if first else len(text)
    return text[:at].rstrip() + "\n\n" + added + "\n" + text[at:]


def fetch_wheels(env: Environment, platform: str, line: Line) -> list[Path]:
    """Wheels of pyzmq and av for every Python of Blender on `platform`; kept, so only the first call asks."""
    folder = env.folder / "wheels" / platform
    wanted = [pin_of("pyzmq"), pin_of("av")]
    for python in BLENDER_PYTHONS:
        step = f"wheels-{platform}-{python}"
        if folder.is_dir() and env.finished(step, wanted):
            continue
        tags = [option for tag in PIP_PLATFORMS[platform] for option in ("--platform", tag)]
        fixed = ["--no-deps", "--only-binary", ":all:", "--python-version", python, "--dest", str(folder)]
        command = ["download", *fixed, *tags, *env.sources(), *wanted]
        env.pip(f"Fetching Blender's packages for {platform}, Python {python}", command, line)
        env.note(step, wanted)
    starts = tuple(w.replace("==", "-") + "-" for w in wanted)
    return sorted(p for p in folder.glob("*.whl") if p.name.startswith(starts))


def build(env: Environment, platform: str, out: Path) -> Path:
    """Write bodyfield-<version>-<platform>.zip into `out`; returns its path."""
    source = ROOT / "blender_addon"
    with Line() as line:
        wheels = fetch_wheels(env, platform, line)
        line.show(f"Writing the zip for {platform}")
        backend = backend_wheel(env.folder / "wheels")
    content = {p.relative_to(source).as_posix(): p.read_bytes() for p in files_of(source)}
    manifest = content["blender_manifest.toml"].decode()
    names = {wheel: wheel.name.replace(*STABLE_ABI) for wheel in wheels}
    content["blender_manifest.toml"] = manifest_with(manifest, platform, list(names.values())).encode()
    content |= {f"wheels/{name}": wheel.read_bytes() for wheel, name in names.items()}
    content[f"backend_wheel/{backend.name}"] = backend.read_bytes()
    # What *Set Up Backend* runs, with the pins that it reads.
    setup = {p.relative_to(ROOT).as_posix(): p for p in files_of(ROOT / "installer")}
    content |= {f"setup_files/{arc}": p.read_bytes() for arc, p in setup.items()}
    content["setup_files/pyproject.toml"] = (ROOT / "pyproject.toml").read_bytes()
    package = out / f"bodyfield-{project()['project']['version']}-{platform.replace('-', '_')}.zip"
    write_zip(package, content)
    return package
