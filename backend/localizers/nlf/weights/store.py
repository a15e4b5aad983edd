"""Installed weights on disk: one folder each below `<home>/weights/`, listed, named and removed.

    <home>/weights/<name>/info.json            what it is, and size and sha256 of every file
                          model.safetensors    the crop model and its constants
                          skeletons.json       the named skeletons of the release
                          canonical.safetensors  places of body vertices and joints in canonical space, if known
                          body_smpl.safetensors, body_smplx.safetensors  bodies that came with the weights

A folder is made under a hidden name and renamed when it is complete. `info.json` is untrusted like any file that
somebody may have edited.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backend.errors import JobError
from backend.files.pickles.inert import said
from backend.localizers.nlf.weights.tensorfile import file_digest
from blender_addon.shared.alive import pid_alive
from blender_addon.shared.home import home_folder

INFO, MODEL, SKELETONS, CANONICAL = (
    "info.json",
    "model.safetensors",
    "skeletons.json",
    "canonical.safetensors",
)
FORMAT = 1
"""Counts changes of the folder's layout; other numbers are not read."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_WINDOWS = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))}
_OWN_NAMES = ("landmarks-", "auto")
"""How the names of shipped localizers begin."""
_ADDING, _REMOVING = ".adding-", ".removing-"
_STALE_SECONDS = 24 * 3600.0
_MAX_INFO = 1 << 20


@dataclass(frozen=True)
class Installed:
    """One set of weights in the user's data folder."""

    name: str
    """The folder's name."""
    folder: Path
    """Where the files lie."""
    size: str
    """Of the network, "s" or "l"."""
    source: str
    """Name of the file it came from."""
    sha256: str
    """Digest of the converted model."""
    added: str
    """Day on which it was added, ISO date."""
    licence: str
    """One sentence on what the weights may be used for."""
    white: bool
    """Pictures are padded with white, not black."""
    fix_uncert_factor: bool
    """How the model was trained, see `nets.losses.Norm`."""
    skeletons: tuple[str, ...]
    """Names of the skeletons."""
    bodies: tuple[str, ...]
    """Kinds of embedded bodies ("smpl", "smplx")."""
    bytes: int
    """Size of all files together."""
    canonical: tuple[str, ...] = ()
    """Names of the tensors in canonical.safetensors."""
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Size in bytes and sha256 of each file, by name."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for info.json and for programs; the folder is given by where the file lies."""
        plain = {k: v for k, v in asdict(self).items() if k not in ("folder", "bytes")}
        return {"format": FORMAT, **plain}


def weights_folder(home: Path | None = None) -> Path:
    """Where installed weights lie."""
    return (home or home_folder()) / "weights"


def installed(home: Path | None = None) -> list[Installed]:
    """The whole installed weights by name; broken ones are left out, see `survey`."""
    return survey(home)[0]


def survey(home: Path | None = None, thorough: bool = False) -> tuple[list[Installed], list[str]]:
    """The whole weights, and one sentence for each broken one. `thorough`: read every file through."""
    whole, broken = [], []
    place = weights_folder(home)
    with contextlib.suppress(OSError):
        for folder in sorted(place.iterdir()):
            if folder.is_dir() and not folder.name.startswith("."):
                try:
                    info = read_info(folder)
                    for name in info.files if thorough else ():
                        check_file(info, name)
                    whole.append(info)
                except JobError as error:
                    broken.append(str(error))
    return whole, broken


def find(name: str, home: Path | None = None) -> Installed:
    """Installed weights by name. Raises JobError("bad_weights") for unknown or damaged ones."""
    folder = weights_folder(home) / name
    if not _NAME.fullmatch(name) or not folder.is_dir():
        raise _unknown(name, home)
    return read_info(folder)


def remove(name: str, home: Path | None = None) -> None:
    """Delete installed weights, whole or broken. Raises JobError."""
    place = weights_folder(home)
    folder = place / name
    if not _NAME.fullmatch(name) or not folder.is_dir():
        raise _unknown(name, home)
    try:
        discard(folder)
    except OSError as error:
        text = (
            f"The weights {name} cannot be removed ({error.strerror}): end the backend that uses them first."
        )
        raise JobError("cannot_write", text) from error


def discard(folder: Path) -> None:
    """Take a folder of weights away, at once and then for good. Raises OSError if it cannot be moved."""
    doomed = folder.with_name(f"{_REMOVING}{os.getpid()}-{secrets.token_hex(4)}")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def new_folder(place: Path) -> Path:
    """An empty hidden folder for weights in the making. Raises OSError."""
    place.mkdir(parents=True, exist_ok=True)
    folder = place / f"{_ADDING}{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def sweep(place: Path) -> None:
    """Remove what a killed process left half done."""
    with contextlib.suppress(OSError):
        for folder in place.iterdir():
            if folder.name.startswith((_ADDING, _REMOVING)):
                pid = folder.name.removeprefix(_ADDING).removeprefix(_REMOVING).partition("-")[0]
                old = time.time() - folder.stat().st_mtime > _STALE_SECONDS
                if old or not (pid.isdigit() and pid_alive(int(pid))):
                    shutil.rmtree(folder, ignore_errors=True)


def check_name(name: str) -> str:
    """`name` if weights may be called so. Raises JobError("bad_options")."""
    if not _NAME.fullmatch(name) or ".." in name:
        text = "made of up to 64 letters, digits, dots, hyphens and underscores, a letter or digit first and last"
    elif name.split(".")[0].lower() in _WINDOWS:
        text = "that Windows does not keep for itself"
    elif name.lower().startswith(_OWN_NAMES):
        text = "that no localizer of Bodyfield has"
    else:
        return name
    raise JobError("bad_options", f"Weights cannot be called '{said(name)}': give a --name {text}.")


def read_info(folder: Path) -> Installed:
    """What info.json says, after a look at the files' sizes. Raises JobError("bad_weights")."""
    try:
        path = folder / INFO
        if path.stat().st_size > _MAX_INFO:
            raise ValueError("too large")
        data = json.loads(path.read_text("utf-8"))
        files = {str(n): (int(size), str(digest)) for n, (size, digest) in data["files"].items()}
        info = Installed(
            name=folder.name,
            folder=folder,
            size=_one_of(data["size"], ("s", "l")),
            **{k: _text(data[k]) for k in ("source", "sha256", "added", "licence")},
            **{k: _truth(data[k]) for k in ("white", "fix_uncert_factor")},
            **{k: tuple(map(_text, data[k])) for k in ("skeletons", "bodies", "canonical")},
            bytes=sum(size for size, _ in files.values()),
            files=files,
        )
        if (
            data["format"] != FORMAT
            or not {MODEL, SKELETONS} <= files.keys()
            or set(files) & {INFO, "", ".."}
        ):
            raise ValueError("other layout")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(folder, f"its {INFO} cannot be read") from error
    for name, (size, _) in files.items():
        if Path(name).name != name:
            raise damaged(folder, f"its {INFO} cannot be read")
        try:
            found = (folder / name).stat().st_size
        except OSError as error:
            raise damaged(folder, f"its {name} is missing") from error
        if found != size:
            raise damaged(folder, f"its {name} has {found} bytes in place of {size}")
    return info


def check_file(info: Installed, name: str) -> Path:
    """Path of a file of `info` whose bytes are those that were installed. Raises JobError("bad_weights")."""
    path = info.folder / name
    try:
        digest = file_digest(path)
    except OSError as error:
        raise damaged(info.folder, f"its {name} cannot be read") from error
    if digest != info.files[name][1]:
        raise damaged(info.folder, f"its {name} was changed")
    return path


def damaged(folder: Path, why: str) -> JobError:
    """The one sentence about a broken folder."""
    return JobError(
        "bad_weights",
        f"The weights {folder.name} in {folder.parent} are damaged ({why}): run 'python -m backend weights remove "
        f"{folder.name}' and add the file again.",
    )


def _unknown(name: str, home: Path | None) -> JobError:
    names = [i.name for i in installed(home)]
    known = f"installed are {', '.join(names)}" if names else "none are installed"
    text = f"There are no weights called '{said(name)}': {known}; 'python -m backend weights add FILE' adds some."
    return JobError("bad_weights", text)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("not a text")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def _one_of(value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError("unknown")
    return value
