"""Pickles of datasets as data: numpy arrays, numbers, texts, lists and dictionaries, and nothing that runs.

3DPW, EMDB, AGORA, the processed Human3.6M and SMPL come as pickles, which are programs. The machine of
`backend.files.pickles.machine` walks their opcodes without calling or importing anything; here it learns the few names
that such files use beside numpy's, and what it gives is turned into plain values.
"""

from __future__ import annotations

import codecs
import io
import math
import pickletools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backend.errors import JobError
from backend.files.pickles.inert import ArrayRef, DtypeRef, Global, Record, Refusal, StorageRef, TensorRef
from backend.files.pickles.known import CALLS
from backend.files.pickles.machine import Machine

MAX_BYTES = 1 << 30
"""A sequence of 3DPW has some 10 MB, a full SMPL file 250 MB."""
_MAX_OPERATIONS = 60_000_000
_DEEPEST = 32
_WIDEST_KEY = 4


class Thing(Record):
    """An object of a class that was not made. `state`: what it would have been given; `arguments`: of its making."""

    __slots__ = ("arguments", "state")

    def __init__(self, cls: str, arguments: tuple = ()) -> None:
        super().__init__(cls)
        self.arguments, self.state = arguments, None

    def set_state(self, state: Any) -> None:
        """Kept as it is, beside the attributes."""
        self.state = state
        super().set_state(state)


def _thing(name: str):
    return lambda *arguments: Thing(name, arguments)


_OPCODES = {o.code.encode("latin-1"): o for o in pickletools.opcodes}


def _text(line: bytes) -> str:
    """What stands in quotes on a line of a pickle of protocol 0."""
    inner = line.removesuffix(b"\n")
    if len(inner) < 2 or inner[:1] not in b"'\"" or inner[-1:] != inner[:1]:
        raise ValueError("a text without quotes")
    return codecs.escape_decode(inner[1:-1])[0].decode("latin-1")


_NOT_TENSORS = {k: v for k, v in CALLS.items() if not k.startswith("torch.")}


class _DataMachine(Machine):
    calls = {
        **_NOT_TENSORS,
        "builtins.slice": _thing("slice"),
        "pandas._libs.internals._unpickle_block": _thing("block"),
        "pandas.core.internals.managers.BlockManager": _thing("manager"),
        "pandas.core.indexes.base._new_Index": _thing("index"),
    }
    max_operations = _MAX_OPERATIONS

    def operations(self, data: bytes) -> Iterator[tuple[Any, Any, Any]]:
        """As `pickletools.genops`, which takes the texts of protocol 0 for ASCII; Python 2 put arrays' bytes there."""
        file = io.BytesIO(data)
        while True:
            code = file.read(1)
            opcode = _OPCODES.get(code)
            if opcode is None:
                raise ValueError(f"no opcode {code!r}")
            if opcode.name == "STRING":
                argument = _text(file.readline())
            else:
                argument = None if opcode.arg is None else opcode.arg.reader(file)
            yield opcode, argument, None
            if code == b".":
                return

    def instance_of(self, cls: Any, arguments: Any) -> Any:
        """As usual, but keeping what the object was to be made of."""
        made = super().instance_of(cls, arguments)
        return Thing(made.cls, arguments) if isinstance(made, Record) else made

    def is_key(self, key: Any) -> bool:
        """Short tuples of names and numbers too: the cameras of Human3.6M are kept under (subject, camera)."""
        if isinstance(key, tuple):
            return len(key) <= _WIDEST_KEY and all(isinstance(k, (str, int)) for k in key)
        return super().is_key(key)


def read_pickled(path: Path, what: str) -> Any:
    """The plain values in the file `path`: numpy arrays, lists, dictionaries, texts (Latin-1 for Python 2's), numbers;
    objects of foreign classes as `Thing`. `what`: the file's kind, for the sentence of the refusal.

    JobError("bad_data") for a file that is missing, damaged, too large, or would run anything.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise Refusal(f"it has {size >> 20} MB, more than {MAX_BYTES >> 20}")
        return unpickled(path.read_bytes())
    except OSError as e:
        raise JobError(
            "bad_data", f"{path} cannot be read ({e.strerror or e}): give the folder of {what}."
        ) from e
    except Refusal as e:
        raise JobError("bad_data", f"{path} cannot be used as {what}: {e}.") from e


def unpickled(data: bytes) -> Any:
    """The plain values that the pickle `data` describes. Raises Refusal."""
    try:
        return plain(_DataMachine(foreign=True).run(data))
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError, MemoryError) as e:
        raise Refusal("one of its pickles is damaged") from e


def plain(value: Any) -> Any:
    """Inert data with its arrays as numpy arrays (those of objects as nested lists). Raises Refusal."""
    return _Plain().of(value, 0)


class _Plain:
    """Turns every part once, so that parts which are shared stay shared and a small file cannot grow."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, Any]] = {}

    def of(self, value: Any, depth: int) -> Any:
        if isinstance(value, (str, bytes, int, float, bool, type(None))):
            return value
        if id(value) in self._done:
            return self._done[id(value)][1]
        if depth > _DEEPEST:
            raise Refusal("it is nested too deeply")
        if isinstance(value, ArrayRef):
            out = to_array(value)
            return self._keep(value, self.of(out, depth + 1) if isinstance(out, list) else out)
        if isinstance(value, list):
            # Entered before it is filled: a list may hold itself.
            mine = self._keep(value, [])
            mine += [self.of(v, depth + 1) for v in value]
            return mine
        if isinstance(value, tuple):
            return self._keep(value, tuple(self.of(v, depth + 1) for v in value))
        if isinstance(value, dict):
            into = self._keep(value, {})
            into.update((k, self.of(v, depth + 1)) for k, v in value.items())
            return into
        if isinstance(value, Thing):
            self._keep(value, value)
            value.attributes = {k: self.of(v, depth + 1) for k, v in value.attributes.items()}
            value.arguments = self.of(value.arguments, depth + 1)
            value.state = self.of(value.state, depth + 1)
            return value
        if isinstance(value, (TensorRef, StorageRef)):
            raise Refusal("it holds torch's tensors in place of numpy's arrays: convert them first")
        if isinstance(value, (Global, DtypeRef)):
            return None
        raise Refusal("it holds something that is no data")

    def _keep(self, value: Any, turned: Any) -> Any:
        # The value too: while it lives, no other object has its identity.
        self._done[id(value)] = value, turned
        return turned


def to_array(ref: ArrayRef) -> np.ndarray | list:
    """The array itself; one of objects as a list, nested by its shape. Raises Refusal."""
    if ref.kind is None:
        return np.zeros(0)
    size = math.prod(ref.shape)
    if isinstance(ref.data, list):
        if len(ref.data) != size:
            raise Refusal("one of its numpy arrays has more or fewer entries than it says")
        flat = np.empty(size, object)
        for i, entry in enumerate(ref.data):
            flat[i] = entry
        shaped = flat.reshape(ref.shape, order="F" if ref.fortran else "C").tolist()
        return shaped if isinstance(shaped, list) else [shaped]
    dtype = ref.kind.dtype()
    if dtype.hasobject or size * dtype.itemsize != len(ref.data):
        raise Refusal("one of its numpy arrays has more or fewer numbers than it says")
    flat = np.frombuffer(ref.data, dtype) if size else np.zeros(0, dtype)
    return flat.reshape(ref.shape, order="F" if ref.fortran else "C")


def table(value: Any) -> dict[str, list]:
    """A pandas DataFrame, as pandas 1.0 to 2.x pickles them, as columns by name. Raises Refusal.

    Source: pandas' own pickles of these versions; up to 1.2 a BlockManager's state is a tuple whose last part names
    axes and blocks, later ones are made of blocks and axes.
    """
    try:
        manager = value.attributes.get("_mgr", value.attributes.get("_data"))
        axes, blocks = _parts(manager)
        names = [str(n) for n in _labels(axes[0])]
        columns: dict[str, list] = {}
        for values, place in blocks:
            rows = values.tolist() if isinstance(values, np.ndarray) else values
            for slot, row in zip(_slots(place, len(names)), rows, strict=True):
                columns[names[slot]] = list(row)
    except (AttributeError, TypeError, KeyError, IndexError, ValueError) as e:
        raise Refusal("it is no table of pandas that can be read here: save it with pandas 1 or 2") from e
    lengths = {len(c) for c in columns.values()}
    if len(lengths) > 1 or len(columns) < len(names):
        raise Refusal("its table is damaged")
    return columns


def _parts(manager: Thing) -> tuple[list, list[tuple[Any, Any]]]:
    if manager.cls == "manager":
        blocks, axes = manager.arguments[:2]
        return list(axes), [(b.arguments[0], b.arguments[1]) for b in blocks]
    inside: Mapping = manager.state[3]["0.14.1"]
    return list(inside["axes"]), [(b["values"], b["mgr_locs"]) for b in inside["blocks"]]


def _labels(index: Thing) -> list:
    data = index.arguments[1]["data"]
    return list(data)


def _slots(place: Any, count: int) -> list[int]:
    if isinstance(place, Thing) and place.cls == "slice":
        start, stop, step = (v if isinstance(v, int) or v is None else int(v) for v in place.arguments)
        return list(range(count))[slice(start, stop, step)]
    return [int(i) for i in place]
