# SPDX-License-Identifier: Apache-2.0
"""What add-on and backend say to each other: `pack` and `unpack` one message, and the shapes each may have.

A message is `[header, buffer, buffer, ...]`. The header is a small JSON object
`{"v", "type", "job", "seq", "arrays": [{"name", "dtype", "shape"}, ...], ...fields}`, each buffer holds one
array in C order, little endian. Buffers are neither copied when packed nor when unpacked: an unpacked array
is a read-only view of the received memory.

Everything that arrives is untrusted: `unpack` either returns a well-formed `Message` or raises `WireError`
with one sentence; it never allocates by what a header claims, never unpickles and never raises anything else.

Client says `hello open frame end points preview pause cancel resume ping bye`; backend says
`capabilities opened body credit progress shot result points preview warning error done pong`. Standard library and
numpy only, so that Blender and the backend share this file.

The `clip` of `open` is what `frames.clip_facts` says: `name width height fps frame_count`, and `source`, where the
video lies: an absolute path (null if nowhere), which the backend keeps with the job so that a later session finds it.

`resume` (job; field `options`: an object, or absent) goes on with a job, or says a finished one's results again. With
`options` the end of the job is done with these in place of its own, that of a finished job anew and without a frame;
only such as concern the end are taken. The results and options that it had stay until the new ones are complete.

`pause` (job; field `on`: bool) lets a job stand still, or go on exactly where it stood. A paused job keeps everything
but its turn: another job may work meanwhile, and the paused one goes first after that. `progress` names the stage
`pausing` while the backend ends the step it is in, `paused` once it stands still, `queued` while it waits for its turn.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import motion, shot
from .motion import Spec

VERSION = 2
"""Protocol version, the `v` of every header. Both sides must speak the same one."""

MAX_HEADER_BYTES = 1 << 20
MAX_ARRAY_BYTES = 512 << 20
MAX_ARRAYS = 64
MAX_DIMS = 8

CLIENT_TYPES = frozenset(
    {"hello", "open", "frame", "end", "points", "preview", "pause", "cancel", "resume", "ping", "bye"}
)
BACKEND_TYPES = frozenset(
    {
        "capabilities",
        "opened",
        "body",
        "credit",
        "progress",
        "shot",
        "result",
        "points",
        "preview",
        "warning",
        "error",
        "done",
        "pong",
    }
)

DTYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
)  # fmt: skip

_DTYPES = {name: np.dtype(name).newbyteorder("<") for name in DTYPES}
_RESERVED = ("v", "type", "job", "seq", "arrays")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_MAX_SEQ = 1 << 53

Buffer = bytes | bytearray | memoryview

FRAME: Spec = {"image": ("uint8", ("h", "w", 3))}

RESULT: Spec = motion.SPEC
"""Arrays of a `result`: one motion, see `motion.TrackMotion` for units and axes."""

SHOT: Spec = shot.SHOT
"""Arrays of a `shot`, which comes before the final results of its people; its fields are `shot.FIELDS`."""

POINTS: Spec = {
    "frames": ("int32", ("n",)),
    "times": ("float64", ("n",)),
    "positions": ("float32", ("n", "p", 3)),
    "uncertainty": ("float32", ("n", "p")),
}
"""Arrays of a `points` answer: p points of one person over n frames, metres in camera space (x right, y down, z
forward), in the order in which the client's `points` message listed them."""

PREVIEW: Spec = {
    "boxes": ("float32", ("n", 4)),
    "scores": ("float32", ("n",)),
    "outlines": ("float32", ("k", 2)),
    "offsets": ("int32", ("m",)),
}
"""Arrays of a `preview` answer to the one FRAME in a client's `preview` message: n people from left to right, n may be
0. `boxes`: x, y, w, h; `outlines`: the corners of all closed polygons one after the other, pixels; `offsets`: m = n + 1
rows of `outlines`, polygon i lies between the i-th and the next; `scores`: 0..1."""

BODY: Spec = {
    "v_template": ("float32", ("v", 3)),
    "faces": ("int32", ("f", 3)),
    "uv": ("float32", ("t", 2)),
    "faces_uv": ("int32", ("g", 3)),
    "weights_index": ("int16", ("v", "k")),
    "weights_value": ("float32", ("v", "k")),
    "joints_template": ("float32", (55, 3)),
    "joints_shapedirs": ("float32", (55, 3, "b")),
    "joints_exprdirs": ("float32", (55, 3, "e")),
    "shapedirs": ("float32", ("v", 3, "b")),
    "exprdirs": ("float32", ("v", 3, "e")),
    "parents": ("int32", (55,)),
    "landmarks": ("float32", (33, 3)),
    "posedirs": ("float16", ("q", "v", 3)),
}
"""Arrays of a `body`: rest pose, metres, SMPL-X axes (x the subject's left, y up, z forward). `landmarks`: where
BlazePose's landmarks lie on the mean body, NaN for a body on which they cannot be found; `posedirs`: pose correctives,
metres times the q = 486 elements of (R - I) of joints 1..54, q = 0 for a body without any."""


class WireError(ValueError):
    """A message is malformed. The text is one sentence."""


class VersionError(WireError):
    """A well-formed header of another protocol version. `version` is what the other side speaks."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"The other side speaks version {version} of the Bodyfield protocol and this side version "
            f"{VERSION}; install the same release of the add-on and of the backend."
        )
        self.version = version


@dataclass(frozen=True)
class Message:
    """One unpacked message."""

    type: str
    """A well-formed name, which may be none of the types that this side knows."""
    job: str | None = None
    """Name of the job; None if it is about no job."""
    seq: int = 0
    """Number that the sender gave it."""
    fields: dict[str, Any] = field(default_factory=dict)
    """All other fields of the header."""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """By name; read-only views of the received buffers."""

    def want(self, name: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        """The field `name`, which must be of `kind`; `default` when it is absent.

        A float may be written as a whole number; a truth value never passes for a number.
        """
        if name not in self.fields and default is not ...:
            return default
        kinds = kind if isinstance(kind, tuple) else (kind,)
        value = self.fields.get(name, ...)
        if isinstance(value, bool):
            good = bool in kinds
        else:
            good = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
        if not good:
            words = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
            what = "is missing" if value is ... else f"is {_shorten(value)}"
            raise WireError(f"The field '{name}' of a '{self.type}' message {what}, but must be {words}.")
        return value

    def check_arrays(self, spec: Spec) -> dict[str, int]:
        """Raise WireError unless the arrays are exactly those of `spec`; returns the size of each letter."""
        if set(self.arrays) != set(spec):
            odd = ", ".join(sorted(set(self.arrays) ^ set(spec)))
            raise WireError(f"A '{self.type}' message lacks or adds arrays: {odd}.")
        sizes: dict[str, int] = {}
        for name, (dtype, dims) in spec.items():
            array = self.arrays[name]
            good = array.dtype.name == dtype and array.ndim == len(dims)
            for size, dim in zip(array.shape, dims, strict=False):
                good = good and size == (dim if isinstance(dim, int) else sizes.setdefault(dim, size))
            if not good:
                shape = ", ".join(str(d) for d in dims)
                raise WireError(
                    f"The array '{name}' of a '{self.type}' message is {array.dtype.name} {array.shape}, "
                    f"but must be {dtype} ({shape}), with one size for each letter."
                )
        return sizes


def pack(
    type: str,
    job: str | None = None,
    seq: int = 0,
    arrays: Mapping[str, np.ndarray] | None = None,
    **fields: Any,
) -> list[Buffer]:
    """The buffers to send for one message; contiguous arrays are passed on without a copy.

    Do not write to an array after packing it: the socket may still be sending it. Raises WireError for what
    `unpack` at the other side would refuse.
    """
    described, buffers = [], []
    for name, array in (arrays or {}).items():
        array = np.asarray(array)
        if array.dtype.name not in _DTYPES:
            raise WireError(f"The array '{name}' has dtype {array.dtype}, which cannot be sent.")
        array = np.asarray(array, _DTYPES[array.dtype.name], order="C")
        described.append({"name": name, "dtype": array.dtype.name, "shape": list(array.shape)})
        buffers.append(array.reshape(-1).view(np.uint8).data if array.size else b"")
    for name in _RESERVED:
        if name in fields:
            raise WireError(f"'{name}' belongs to the header and cannot be a field.")
    header = {"v": VERSION, "type": type, "job": job, "seq": seq, "arrays": described, **fields}
    _check_header(header)
    _check_buffers(described, buffers)
    try:
        text = json.dumps(header, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"A field of a '{type}' message cannot be written as JSON: {error}.") from None
    if len(text) > MAX_HEADER_BYTES:
        raise WireError(f"The header of a '{type}' message is larger than {MAX_HEADER_BYTES} bytes.")
    return [text.encode("ascii"), *buffers]


def unpack(frames: Sequence[Any]) -> Message:
    """The message in `frames` (bytes, memoryviews, or anything with the buffer protocol such as zmq.Frame).

    Raises VersionError for another protocol version, WireError for anything else that is not well-formed.
    """
    if not frames:
        raise WireError("An empty message arrived.")
    try:
        views = [memoryview(frame).cast("B") if _size(frame) else memoryview(b"") for frame in frames]
    except (TypeError, ValueError, BufferError):
        raise WireError("A message holds something that is not plain memory.") from None
    header = _read_header(views[0])
    version = header.get("v")
    if not _is_int(version):
        raise WireError("A header carries no protocol version.")
    if version != VERSION:
        raise VersionError(version)
    _check_header(header)
    described = header.get("arrays")
    _check_buffers(described, views[1:])
    arrays = {}
    for entry, view in zip(described, views[1:], strict=True):
        array = np.frombuffer(view, _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        array.flags.writeable = False
        arrays[entry["name"]] = array
    fields = {k: v for k, v in header.items() if k not in _RESERVED}
    return Message(header["type"], header.get("job"), header["seq"], fields, arrays)


def is_job_id(text: object) -> bool:
    """True for what may name a job: short, and safe as the name of a folder on every system."""
    return isinstance(text, str) and _JOB.fullmatch(text) is not None


def _read_header(view: memoryview) -> dict[str, Any]:
    if len(view) > MAX_HEADER_BYTES:
        raise WireError(f"A header is larger than {MAX_HEADER_BYTES} bytes.")
    try:
        header = json.loads(str(view, "utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twice)
    except (ValueError, RecursionError):
        raise WireError("A header is not JSON.") from None
    if not isinstance(header, dict):
        raise WireError("A header is not a JSON object.")
    return header


def _check_header(header: Mapping[str, Any]) -> None:
    kind, job, seq = header.get("type"), header.get("job"), header.get("seq")
    if not (isinstance(kind, str) and _NAME.fullmatch(kind)):
        raise WireError("A header carries no message type.")
    if job is not None and not is_job_id(job):
        raise WireError(f"The job of a '{kind}' message is {_shorten(job)}, which cannot name a job.")
    if not (_is_int(seq) and 0 <= seq < _MAX_SEQ):
        raise WireError(f"The sequence number of a '{kind}' message is {_shorten(seq)}.")


def _check_buffers(described: Any, buffers: Sequence[Buffer]) -> None:
    if not isinstance(described, list) or len(described) > MAX_ARRAYS:
        raise WireError(f"A header must list its arrays, at most {MAX_ARRAYS}.")
    if len(described) != len(buffers):
        raise WireError(f"A header lists {len(described)} arrays, but {len(buffers)} buffers follow it.")
    seen = set()
    for entry, buffer in zip(described, buffers, strict=True):
        if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape"}:
            raise WireError("An array is described by name, dtype and shape, and nothing else.")
        name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
        if not (isinstance(name, str) and _NAME.fullmatch(name)) or name in seen:
            raise WireError(f"{_shorten(name)} cannot name an array, or does so twice.")
        seen.add(name)
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise WireError(f"The array '{name}' has a dtype that cannot be sent: {_shorten(dtype)}.")
        good = isinstance(shape, list) and len(shape) <= MAX_DIMS
        if not good or not all(_is_int(d) and 0 <= d <= MAX_ARRAY_BYTES for d in shape):
            raise WireError(f"The array '{name}' has an impossible shape: {_shorten(shape)}.")
        nbytes = math.prod(shape) * _DTYPES[dtype].itemsize
        if nbytes > MAX_ARRAY_BYTES:
            raise WireError(f"The array '{name}' is larger than {MAX_ARRAY_BYTES} bytes.")
        if nbytes != len(buffer):
            raise WireError(f"The array '{name}' needs {nbytes} bytes, but {len(buffer)} came.")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _size(frame: Any) -> int:
    # A view without elements cannot be cast, so its size is asked first.
    return memoryview(frame).nbytes


def _shorten(value: object) -> str:
    try:
        text = ascii(value)
    except (ValueError, RecursionError):
        return "something unprintable"
    return text if len(text) <= 60 else text[:57] + "..."


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
