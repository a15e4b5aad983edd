"""The functions that pickles of weights call, imitated: each makes inert data and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backend.files.pickles.inert import DTYPES, ArrayRef, DtypeRef, Global, Refusal, StorageRef, TensorRef


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> TensorRef | None:
    """torch._utils._rebuild_tensor(_v2): storage, offset, size, stride, needs a gradient, hooks."""
    if isinstance(storage, StorageRef) and storage.foreign:
        return None
    return TensorRef.of(storage, offset, shape, stride)


def _tensor_v3(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
):
    """The same with a storage of bytes and the type beside it."""
    if not isinstance(dtype, Global) or dtype.module != "torch" or dtype.name not in DTYPES:
        return None
    if isinstance(storage, StorageRef) and storage.dtype is not None:
        storage = StorageRef(storage.key, None, storage.numel * storage.dtype.itemsize)
    return TensorRef.of(storage, offset, shape, stride, DTYPES[dtype.name])


def _tensor_with_attributes(function: Any, _type: Any, arguments: Any, _state: Any) -> TensorRef | None:
    """torch._tensor._rebuild_from_type_v2: a tensor to which Python attributes were given."""
    rebuild = CALLS.get(function.dotted) if isinstance(function, Global) else None
    if rebuild not in (_tensor, _tensor_v3):
        raise Refusal("one of its tensors is made in a way that weights never are")
    return rebuild(*arguments)


def _nothing(*_: Any) -> None:
    """For what may stand in a release without being part of the weights."""


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered(pairs: Any = ()) -> dict:
    """collections.OrderedDict, empty or of pairs (Python 2 wrote those)."""
    found: dict = {}
    for pair in pairs:
        key, value = pair
        if not isinstance(key, (str, int)):
            raise Refusal("one of its dictionaries has keys that are neither names nor numbers")
        found[key] = value
    return found


def _sequence(values: Any = ()) -> list:
    if not isinstance(values, (list, tuple)):
        raise Refusal("one of its lists is damaged")
    return list(values)


def _encode(text: Any = b"", *_: Any) -> bytes:
    """_codecs.encode, bytes() and bytearray(): how pickles of old protocols spell bytes."""
    if isinstance(text, (bytes, bytearray)):
        return bytes(text)
    if not isinstance(text, str):
        raise Refusal("some of its bytes are damaged")
    return text.encode("latin-1")


def _array(_cls: Any, _shape: Any, _kind: Any) -> ArrayRef:
    return ArrayRef()


def _array_of_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> ArrayRef:
    """numpy's way with protocol 5."""
    found = ArrayRef()
    found.set_state((1, shape, dtype, order == "F", data))
    return found


def _scalar(dtype: Any, data: Any = b"") -> Any:
    found = ArrayRef()
    found.set_state((1, (), dtype, False, data))
    return found.values()


CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._tensor._rebuild_from_type_v2": _tensor_with_attributes,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_sparse_tensor": _nothing,
    "torch._utils._rebuild_sparse_csr_tensor": _nothing,
    "torch._utils._rebuild_qtensor": _nothing,
    "torch._utils._rebuild_meta_tensor_no_storage": _nothing,
    "torch.serialization._get_layout": _nothing,
    "builtins.complex": _nothing,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": _nothing,
    "torch.jit._pickle.restore_type_tag": lambda value, _type: value,
    "torch.jit._pickle.build_intlist": _sequence,
    "torch.jit._pickle.build_doublelist": _sequence,
    "torch.jit._pickle.build_boollist": _sequence,
    "torch.jit._pickle.build_tensorlist": _sequence,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": lambda *_: {},
    "builtins.set": _sequence,
    "builtins.frozenset": _sequence,
    "builtins.list": _sequence,
    "builtins.bytes": _encode,
    "builtins.bytearray": _encode,
    "_codecs.encode": _encode,
    "numpy.dtype": lambda code, *_: DtypeRef(code),
}
for _room in ("numpy.core", "numpy._core"):
    CALLS |= {
        f"{_room}.multiarray._reconstruct": _array,
        f"{_room}.multiarray.scalar": _scalar,
        f"{_room}.numeric._frombuffer": _array_of_buffer,
    }
