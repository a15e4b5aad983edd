"""Paths through what a pickle described: the names of a state dict, and single values by name."""

from __future__ import annotations

from typing import Any

from backend.files.pickles.inert import ArrayRef, Record, Refusal, TensorRef

_MAX_NODES = 500_000
_MAX_NAME = 400
_MISSING = object()


def tensors(root: Any) -> dict[str, TensorRef]:
    """All tensors below `root` by dotted path, in the order of the file.

    Modules contribute their attributes and dictionaries their keys, so that for a TorchScript the names are those of
    its state dict. What several modules share appears under each name, as it does there.
    """
    found: dict[str, TensorRef] = {}
    stack: list[tuple[str, Any]] = [("", root)]
    visited = 0
    while stack:
        path, value = stack.pop()
        visited += 1
        # Objects that share parts a few dozen levels deep have more paths than there are atoms.
        if visited > _MAX_NODES or len(path) > _MAX_NAME:
            raise Refusal("its objects are nested beyond all bounds")
        if isinstance(value, TensorRef):
            found[path] = value
            continue
        parts = value.attributes if isinstance(value, Record) else value if isinstance(value, dict) else {}
        if len(parts) + len(stack) > _MAX_NODES:
            raise Refusal("its objects are nested beyond all bounds")
        for name, part in reversed(parts.items()):
            if isinstance(part, (TensorRef, Record, dict)):
                stack.append((f"{path}.{name}" if path else str(name), part))
    return found


def child(root: Any, path: str, default: Any = None) -> Any:
    """The value at the dotted `path` below `root`, attributes and keys alike, or `default`."""
    value = root
    for name in path.split(".") if path else ():
        parts = value.attributes if isinstance(value, Record) else value if isinstance(value, dict) else {}
        value = parts.get(name, _MISSING)
        if value is _MISSING:
            return default
    return value


def field(value: Any, name: str) -> Any:
    """What `value` has under `name`, as an attribute or as a key, or None."""
    if isinstance(value, Record):
        return value.attributes.get(name, value.items.get(name))
    return value.get(name) if isinstance(value, dict) else None


def sequence(value: Any) -> list | None:
    """A list, tuple, array or list-like object as a list; None for anything else."""
    if isinstance(value, ArrayRef):
        value = value.values()
    if isinstance(value, Record) and value.elements:
        value = value.elements
    return list(value) if isinstance(value, (list, tuple)) else None
