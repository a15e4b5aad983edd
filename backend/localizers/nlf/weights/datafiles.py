"""nlf_data_files.zip of the official release: what a checkpoint of the crop model alone leaves out.

The seven constants are worked out as the published training code does it (docs/nlf.md 10, 11); skeletons and the
canonical vertices and joints of SMPL and SMPL-X are read as they are. Members may lie in any folder of the zip; the
many large ones that are not needed are never touched.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from backend.files.pickles.inert import Record, Refusal, said
from backend.files.pickles.machine import MAX_BYTES, read_pickle
from backend.localizers.nlf.pointnetwork import EIGENFUNCTIONS
from backend.localizers.nlf.weights.archive import Archive
from backend.localizers.nlf.weights.bodies import BODY_KINDS
from backend.localizers.nlf.weights.skeletons import Skeleton, make_skeletons
from backend.localizers.nlf.weights.tree import field as part_of
from backend.localizers.nlf.weights.tree import sequence

NODES, EIGENVALUES = "canonical_nodes3.npy", "canonical_eigval3.npy"
JOINT_INFO, LOCATIONS = "joint_info_866.pkl", "canonical_loc_symmetric_init_866.npy"
SKELETONS = "skeleton_types_huge8.pkl"
NEEDED = (NODES, EIGENVALUES, JOINT_INFO, LOCATIONS)
_MAX_ARRAY = 512 << 20
_BAD_HEADER = (
    *(
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        EOFError,
        SyntaxError,
        tokenize.TokenError,
    ),
    *(RecursionError, MemoryError, OverflowError, struct.error),
)
"""numpy reads an array's header as a Python literal and lets through what goes wrong there."""
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


@dataclass(frozen=True)
class DataFiles:
    """What the zip of data files holds."""

    constants: dict[str, torch.Tensor]
    """By the short names of `CONSTANTS`."""
    lefts: int
    """Joints on the left."""
    centers: int
    """Joints in the middle."""
    skeletons: dict[str, Skeleton] = field(default_factory=dict)
    """By name."""
    vertices: dict[str, np.ndarray] = field(default_factory=dict)
    """(V, 3) float32 metres in canonical space, by kind of body."""
    joints: dict[str, np.ndarray] = field(default_factory=dict)
    """(n, 3) float32 metres in canonical space, by kind of body."""


def is_data_archive(archive: Archive) -> bool:
    """True for a zip that has any of the data files."""
    return any(_member(archive, name) for name in (*NEEDED, SKELETONS))


def read_data_files(archive: Archive) -> DataFiles:
    """All that is needed out of the zip. Raises Refusal."""
    absent = [name for name in NEEDED if not _member(archive, name)]
    if absent:
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise Refusal(f"it holds no {absent[0]}{more}, which belongs to nlf_data_files.zip")
    names, ids = _joint_names(read_pickle(bytes(_read(archive, JOINT_INFO, MAX_BYTES)), foreign=True))
    constants, lefts = _joint_constants(names, ids)
    eigenvalues = _array(archive, EIGENVALUES, (None,))
    if len(eigenvalues) < EIGENFUNCTIONS + 1 or eigenvalues[1 : EIGENFUNCTIONS + 1].min() <= 0:
        raise Refusal(f"its {EIGENVALUES} does not hold {EIGENFUNCTIONS + 1} growing eigenvalues")
    constants["r_sqrt_eigva"] = _f32(1 / np.sqrt(eigenvalues[1 : EIGENFUNCTIONS + 1]))
    nodes = _array(archive, NODES, (None, 3))
    low, high = nodes.min(0), nodes.max(0)
    constants |= {"mini": _f32(low), "maxi": _f32(high), "center": _f32((low + high) / 2)}
    constants["canonical_locs_init"] = _f32(_array(archive, LOCATIONS, (len(names), 3)))
    skeletons: dict[str, Skeleton] = {}
    if _member(archive, SKELETONS):
        found = read_pickle(bytes(_read(archive, SKELETONS, MAX_BYTES)), foreign=True)
        skeletons = _skeletons(found, len(names))
    out = DataFiles(constants, lefts, len(names) - 2 * lefts, skeletons)
    for kind, count in BODY_KINDS.items():
        if _member(archive, f"canonical_verts/{kind}.npy"):
            out.vertices[kind] = _single(_array(archive, f"canonical_verts/{kind}.npy", (None, 3)))
        if _member(archive, f"canonical_joints/{kind}.npy"):
            joints = _single(_array(archive, f"canonical_joints/{kind}.npy", (None, 3)))
            if len(joints) >= count:
                out.joints[kind] = joints[:count]
    return out


def is_hand_joint(name: str) -> bool:
    """Joints of the hand keep their first place: they take no learnt offset."""
    stem = name.split("_")[0]
    return any(f in stem for f in _FINGERS) or (stem.startswith(("lhan", "rhan")) and len(stem) > 4)


def joint_order(names: list[str], ids: dict[str, int]) -> tuple[list[int], int]:
    """Indices of the left joints, of their partners on the right, of all others; and how many are left.

    Left is what begins with l; its partner has r in that place. Raises Refusal when one has no partner.
    """
    left = [i for i, name in enumerate(names) if name[0] == "l"]
    try:
        right = [ids["r" + names[i][1:]] for i in left]
    except KeyError as error:
        raise Refusal(f"its joint {said(error.args[0], 40)} is missing from {JOINT_INFO}") from error
    sides = {*left, *right}
    return [*left, *right, *(i for i in range(len(names)) if i not in sides)], len(left)


def _joint_constants(names: list[str], ids: dict[str, int]) -> tuple[dict[str, torch.Tensor], int]:
    order, lefts = joint_order(names, ids)
    if sorted(order) != list(range(len(names))):
        raise Refusal(f"the joints of its {JOINT_INFO} are not numbered one after the other")
    mask = [0.0 if is_hand_joint(name) else 1.0 for name in names]
    return {
        "inv_permutation": torch.from_numpy(np.argsort(np.array(order))),
        "canonical_delta_mask": torch.tensor(mask),
    }, lefts


def _joint_names(info: Any) -> tuple[list[str], dict[str, int]]:
    names = sequence(part_of(info, "names"))
    ids = part_of(info, "ids")
    # Dictionaries with attribute access are objects of their own; their entries are what counts.
    entries = ids if isinstance(ids, dict) else ids.items if isinstance(ids, Record) else {}
    ids = {k: v for k, v in entries.items() if isinstance(k, str) and type(v) is int}
    if names is None:
        names = sorted(ids, key=ids.get)
    if not names or len(names) > 100_000 or not all(isinstance(n, str) and n for n in names):
        raise Refusal(f"its {JOINT_INFO} holds no names of joints")
    return names, ids or {name: i for i, name in enumerate(names)}


def _skeletons(found: Any, joints: int) -> dict[str, Skeleton]:
    entries = found if isinstance(found, dict) else found.items if isinstance(found, Record) else {}
    if not entries:
        raise Refusal(f"its {SKELETONS} holds no skeletons")
    lists = {
        name: tuple(_plain(sequence(part_of(entry, key))) for key in ("names", "indices", "edges"))
        for name, entry in entries.items()
        if isinstance(name, str)
    }
    return make_skeletons(lists, joints)


def _plain(values: list | None) -> list | None:
    """Rows of rows as lists of lists."""
    if values is None:
        return None
    return [v if isinstance(v, (str, int)) else sequence(v) for v in values]


def _member(archive: Archive, name: str) -> str | None:
    """The member whose path ends with `name`, the least deep one."""
    found = [n for n in archive.entries if n == name or n.endswith(f"/{name}")]
    return min(found, key=lambda n: (n.count("/"), n), default=None)


def _read(archive: Archive, name: str, limit: int) -> bytearray:
    return archive.read(_member(archive, name) or name, limit)


def _array(archive: Archive, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """The .npy member as float64, checked to be finite numbers of the shape (None: any size but 0)."""
    data = _read(archive, name, _MAX_ARRAY)
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        found, fortran, dtype = header(file)
    except _BAD_HEADER as error:
        raise Refusal(f"its {name} is damaged") from error
    fits = len(found) == len(shape) and all(
        n > 0 and w in (None, n) for w, n in zip(shape, found, strict=True)
    )
    if not fits or dtype.kind not in "iuf":
        raise Refusal(f"its {name} does not hold the {_by(shape)} numbers that it should")
    if math.prod(found) * dtype.itemsize != len(data) - file.tell():
        raise Refusal(f"its {name} is damaged")
    flat = np.frombuffer(data, dtype, offset=file.tell()).astype(np.float64)
    array = flat.reshape(found, order="F" if fortran else "C")
    if not np.isfinite(array).all():
        raise Refusal(f"its {name} holds numbers that are not finite")
    return array


def _f32(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(_single(array))


def _single(array: np.ndarray) -> np.ndarray:
    """float32; what is too large becomes infinite, which is refused later."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def _by(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if n is None else str(n) for n in shape)
