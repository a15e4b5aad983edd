"""`add`: from a file of the official release to installed weights. Nothing in the file is run."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from backend.errors import JobError
from backend.files.pickles.inert import Refusal, TensorRef
from backend.localizers.nlf.crop_model import CONSTANTS
from backend.localizers.nlf.weights import store
from backend.localizers.nlf.weights.archive import Archive, TorchArchive
from backend.localizers.nlf.weights.bodies import body_arrays
from backend.localizers.nlf.weights.datafiles import DataFiles, is_data_archive, read_data_files
from backend.localizers.nlf.weights.official import (
    COUNTER,
    Found,
    constant_shapes,
    expected_shapes,
    recognise,
)
from backend.localizers.nlf.weights.skeletons import Skeleton
from backend.localizers.nlf.weights.store import CANONICAL, INFO, MODEL, SKELETONS, Installed
from backend.localizers.nlf.weights.tensorfile import Entry, file_digest, write_tensors
from blender_addon.shared.whole import write_whole

DATA_ZIP = "nlf_data_files.zip"
_SPARE = 16 << 20
_VERSION = re.compile(r"(?<![0-9.])(\d+\.\d+(?:\.\d+)?(?:\.patch\d+)?)(?![0-9])")
_LICENCE = "NLF weights: non-commercial research use, by their authors' terms"
_BODY_LICENCE = (
    "SMPL and SMPL-X in them have their own licences (Max-Planck-Gesellschaft): they stay on this machine"
)
_MAX_PLACE = 10.0
"""Metres from the origin of the canonical space, in which a person stands."""
_DISK_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


@dataclass
class _Release:
    """All that is kept of the files."""

    path: Path
    """The weights file."""
    archive: TorchArchive
    """Holds what `found` describes."""
    found: Found
    """The crop model."""
    constants: dict[str, torch.Tensor]
    """By the short names of `CONSTANTS`."""
    skeletons: dict[str, Skeleton]
    """By name."""
    places: dict[str, np.ndarray] = field(default_factory=dict)
    """Tensors of canonical.safetensors."""


def add(
    files: Sequence[Path],
    home: Path | None = None,
    name: str | None = None,
    note: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Installed:
    """Install the weights in `files`: a TorchScript of the release, or a checkpoint and its data zip.

    `name`: None makes one from size and version; `note` is told what is worth knowing, one sentence each;
    `progress` is told the bytes written so far and in all. Weights that are there already are not installed again.
    Raises JobError: "bad_weights" names the file and what is wrong with it, "bad_options", "disk_full",
    "cannot_write". Nothing half done stays behind.
    """
    if name is not None:
        store.check_name(name)
    place = store.weights_folder(home)
    store.sweep(place)
    with contextlib.ExitStack() as opened:
        release = _read(opened, files, note)
        try:
            folder = store.new_folder(place)
        except OSError as error:
            raise _cannot_write(error, place) from error
        try:
            info = _convert(release, folder, note, progress)
            return _settle(info, place, name or _default_name(release), note)
        except OSError as error:
            raise _cannot_write(error, place) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _read(opened: contextlib.ExitStack, files: Sequence[Path], note: Callable[[str], None]) -> _Release:
    """Open the files, tell what they are, and check everything but the large tensors."""
    weights: list[tuple[Path, Archive]] = []
    data: list[tuple[Path, Archive]] = []
    for path in dict.fromkeys(Path(f) for f in files):
        with _refusing(path):
            archive = opened.enter_context(Archive(path))
            torches = any(n.endswith("/data.pkl") and n.count("/") == 1 for n in archive.entries)
            if not torches and not is_data_archive(archive):
                raise Refusal(f"it is a zip archive, but neither one that torch wrote nor {DATA_ZIP}")
            (weights if torches else data).append((path, archive))
    for kind, given in (("weights", weights), ("data files", data)):
        if len(given) > 1:
            text = f"{given[0][0]} and {given[1][0]} are both {kind}: give one at a time."
            raise JobError("bad_weights", text)
    if not weights:
        text = f"{data[0][0]} holds no weights" if data else "No file was given"
        raise JobError("bad_weights", f"{text}: give nlf_l_crop_0.3.2.pt with it, in the same command.")
    extra = None
    if data:
        with _refusing(data[0][0]):
            extra = read_data_files(data[0][1])
    path, archive = weights[0]
    with _refusing(path):
        return _merge(path, TorchArchive(archive), extra, note)


def _merge(
    path: Path, archive: TorchArchive, extra: DataFiles | None, note: Callable[[str], None]
) -> _Release:
    found = recognise(archive)
    if found.constants:
        shapes = constant_shapes(found.joints)
        constants = {s: archive.load(ref).reshape(shapes[s]) for s, ref in found.constants.items()}
    elif extra is None:
        raise Refusal(
            f"it lacks {found.missing_constants[0]} (and {len(found.missing_constants) - 1} more constants), which "
            f"are in {DATA_ZIP}: give both files in the same command"
        )
    elif (extra.lefts, extra.centers) != (found.lefts, found.centers):
        raise Refusal(
            f"it has {found.lefts} + {found.centers} joints, but {DATA_ZIP} {extra.lefts} + {extra.centers}"
        )
    else:
        constants = extra.constants
    release = _Release(path, archive, found, _sound_constants(constants), found.skeletons)
    for kind, ref in found.subsets.items():
        release.places[f"subset.{kind}"] = archive.load(ref).float().numpy()
    if extra is not None:
        release.skeletons = release.skeletons or extra.skeletons
        release.places |= {f"vertices.{k}": v for k, v in extra.vertices.items()}
        release.places |= {f"joints.{k}": v for k, v in extra.joints.items()}
    for key, array in list(release.places.items()):
        if not np.isfinite(array).all() or np.abs(array).max() > _MAX_PLACE:
            note(f"The canonical points {key} are damaged and were left out.")
            del release.places[key]
    if not release.skeletons:
        note("The weights came without named skeletons.")
    if found.white is None:
        note("The file does not say how pictures are padded: black is taken.")
    return release


def _sound_constants(constants: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The constants in the model's dtypes; numbers that no model can have are refused."""
    out = {}
    for short, value in constants.items():
        whole = short == "inv_permutation"
        out[short] = value.long() if whole else value.float()
        if not whole and not bool(torch.isfinite(out[short]).all()):
            raise Refusal(f"its {CONSTANTS[short]} holds numbers that are not finite")
    order = out["inv_permutation"]
    if not torch.equal(order.sort().values, torch.arange(len(order))):
        raise Refusal(f"its {CONSTANTS['inv_permutation']} is no order of the joints")
    if bool((out["mini"] >= out["maxi"]).any()):
        raise Refusal(f"its {CONSTANTS['mini']} is not below {CONSTANTS['maxi']}")
    if bool((out["r_sqrt_eigva"] <= 0).any()) or bool((out["canonical_locs_init"].abs() > _MAX_PLACE).any()):
        raise Refusal("its constants are not those of a body")
    return out


def _convert(
    release: _Release, folder: Path, note: Callable, progress: Callable[[int, int], None]
) -> Installed:
    """Write all files into `folder` and describe them."""
    found = release.found
    model = list(_model_entries(release))
    total = sum(e.bytes for e in model)
    body_bytes = sum(4 * ref.numel for refs in found.bodies.values() for ref in refs.values())
    needed = total + body_bytes + sum(a.nbytes for a in release.places.values()) + _SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _disk_full(folder.parent, f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free")
    done = 0

    def wrote(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total + body_bytes)

    progress(0, total + body_bytes)
    with _refusing(release.path):
        digest = write_tensors(folder / MODEL, model, wrote)
        bodies = tuple(
            k for k, refs in found.bodies.items() if _write_body(release, k, refs, folder, note, wrote)
        )
    if release.places:
        write_tensors(folder / CANONICAL, [_array_entry(n, a) for n, a in release.places.items()])
    text = json.dumps({n: s.to_json() for n, s in release.skeletons.items()}, separators=(",", ":"))
    _write_text(folder / SKELETONS, text)
    made = {
        p.name: (p.stat().st_size, digest if p.name == MODEL else file_digest(p)) for p in folder.iterdir()
    }
    smpl = bodies or any(n.startswith("vertices.") for n in release.places)
    return Installed(
        name="",
        folder=folder,
        size=found.size,
        source=_shown(release.path.name),
        sha256=digest,
        added=datetime.datetime.now(datetime.UTC).date().isoformat(),
        licence=f"{_LICENCE}; {_BODY_LICENCE}." if smpl else f"{_LICENCE}.",
        white=bool(found.white),
        fix_uncert_factor=found.fix_uncert_factor,
        skeletons=tuple(release.skeletons),
        bodies=bodies,
        bytes=sum(size for size, _ in made.values()),
        canonical=tuple(release.places),
        files=dict(sorted(made.items())),
    )


def _model_entries(release: _Release) -> Iterator[Entry]:
    found = release.found
    for name, shape in expected_shapes(found.size, found.lefts, found.centers).items():
        ref = found.tensors.get(name)
        if name.endswith(COUNTER):
            yield Entry(name, shape, torch.int64, lambda r=ref: _counter(release.archive, r))
        else:
            dtype = torch.float32 if ref.dtype == torch.float64 else ref.dtype
            yield Entry(name, shape, dtype, lambda n=name, r=ref, d=dtype: _sound(release.archive, n, r, d))
    for short, name in CONSTANTS.items():
        value = release.constants[short]
        yield Entry(name, tuple(value.shape), value.dtype, lambda v=value: v)


def _counter(archive: TorchArchive, ref: TensorRef | None) -> torch.Tensor:
    """Training steps that a norm counted. Nothing reads them, and some files leave them out."""
    if ref is None or ref.numel != 1 or ref.dtype.is_floating_point:
        return torch.zeros((), dtype=torch.int64)
    return archive.load(ref).long().reshape(())


def _sound(archive: TorchArchive, name: str, ref: TensorRef, dtype: torch.dtype) -> torch.Tensor:
    value = archive.load(ref).to(dtype)
    if not bool(torch.isfinite(value).all()):
        raise Refusal(f"its {name} holds numbers that are not finite")
    if name.endswith(".running_var") and bool((value < 0).any()):
        raise Refusal(f"its {name} holds variances below zero")
    return value


def _write_body(
    release: _Release, kind: str, refs: Mapping[str, TensorRef], folder: Path, note, wrote
) -> bool:
    try:
        if not refs:
            raise Refusal("not all are there, or their sizes differ")
        arrays = body_arrays({n: release.archive.load(r).float().numpy() for n, r in refs.items()})
    except (Refusal, ValueError) as error:
        note(f"The {kind} tensors in the file are damaged ({error}) and were left out.")
        return False
    write_tensors(folder / f"body_{kind}.safetensors", [_array_entry(n, a) for n, a in arrays.items()], wrote)
    return True


def _array_entry(name: str, array: np.ndarray) -> Entry:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return Entry(name, tuple(tensor.shape), tensor.dtype, lambda: tensor)


def _settle(info: Installed, place: Path, wanted: str, note: Callable[[str], None]) -> Installed:
    """Give the finished folder its name, unless the same weights are there already."""
    for other in store.installed(place.parent):
        same = (other.sha256, other.white, other.fix_uncert_factor)
        if same == (info.sha256, info.white, info.fix_uncert_factor):
            if not _whole(other.folder, thorough=True):
                return _replace_damaged(info, place, other.name, note)
            if info.files == other.files or _extras(info) < _extras(other):
                note(f"These weights are installed already, as {other.name}.")
                return other
            if _extras(other) <= _extras(info):
                new = ", ".join(sorted(_extras(info) - _extras(other))[:3]) or "other canonical points"
                note(f"These weights were installed already, as {other.name}; they got {new}.")
                return _rename(info, place, other.name, replaces=True)
    taken = {p.name.lower() for p in place.iterdir()}
    if wanted.lower() in taken and not _whole(place / wanted):
        return _replace_damaged(info, place, wanted, note)
    chosen = wanted
    for length in range(6, 64, 2):
        if chosen.lower() not in taken:
            break
        chosen = f"{wanted[:40]}-{info.sha256[:length]}"
    if chosen != wanted:
        note(f"Other weights are called {wanted}: these are called {chosen}.")
    return _rename(info, place, chosen, replaces=False)


def _replace_damaged(info: Installed, place: Path, name: str, note: Callable[[str], None]) -> Installed:
    note(f"The damaged weights {name} were replaced.")
    return _rename(info, place, name, replaces=True)


def _rename(info: Installed, place: Path, name: str, replaces: bool) -> Installed:
    target = place / name
    _write_text(info.folder / INFO, json.dumps(replace(info, name=name).to_json(), indent=1))
    _sync(info.folder)
    if replaces and target.is_dir():
        store.discard(target)
    info.folder.rename(target)
    _sync(place)
    return store.read_info(target)


def _write_text(path: Path, text: str) -> None:
    write_whole(path, lambda out: out.write(text.encode("utf-8")), durable=True)


def _sync(folder: Path) -> None:
    """Make the names in a folder outlive a power cut. Windows has no such call and cannot open folders."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _whole(folder: Path, thorough: bool = False) -> bool:
    """False for a folder of weights that cannot be used."""
    try:
        info = store.read_info(folder)
        for name in info.files if thorough else ():
            store.check_file(info, name)
    except JobError:
        return not folder.is_dir()
    return True


def _extras(info: Installed) -> set[str]:
    return {*(f"skeleton {s}" for s in info.skeletons), *(f"body {b}" for b in info.bodies), *info.canonical}


def _default_name(release: _Release) -> str:
    base = f"nlf-{release.found.size}"
    version = _VERSION.search(release.path.name)
    return f"{base}-{version[1]}" if version else base


def _shown(name: str) -> str:
    """A file's name without what a terminal or a JSON reader could stumble over."""
    return "".join(c if c.isprintable() else "?" for c in name)[:200]


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except Refusal as reason:
        raise JobError("bad_weights", f"{path} cannot be used as weights: {reason}.") from reason
    except MemoryError as error:
        raise JobError("bad_weights", f"{path} needs more memory than this machine has free.") from error


def _disk_full(place: Path, why: str) -> JobError:
    return JobError("disk_full", f"The disk with {place} is full: {why}; make room and add the file again.")


def _cannot_write(error: OSError, place: Path) -> JobError:
    if error.errno in _DISK_FULL:
        return _disk_full(place, "the weights did not fit")
    why = error.strerror or type(error).__name__
    return JobError("cannot_write", f"The weights cannot be written to {place} ({why}): make it writable.")
