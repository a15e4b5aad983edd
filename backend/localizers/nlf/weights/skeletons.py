"""Named skeletons of the official release: which rows of `CropModel.canonical_locs` they are, and their edges."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.files.pickles.inert import Refusal, said

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,60}")
_MAX_SKELETONS, _MAX_LABEL = 200, 80


@dataclass(frozen=True, eq=False)
class Skeleton:
    """P joints by name."""

    labels: tuple[str, ...]
    """P names."""
    indices: np.ndarray
    """(P,) int32 rows of `canonical_locs`."""
    edges: np.ndarray
    """(E, 2) int32 rows of the skeleton itself."""

    def to_json(self) -> dict[str, Any]:
        """Lists of plain values."""
        return {
            "labels": list(self.labels),
            "indices": self.indices.tolist(),
            "edges": self.edges.tolist(),
        }


def make_skeleton(name: str, labels: Any, indices: Any, edges: Any, joints: int) -> Skeleton:
    """Check what a file says of one skeleton; `joints`: rows of `canonical_locs`. Raises Refusal."""
    try:
        rows = np.asarray(indices, np.int64).reshape(-1)
        pairs = np.asarray(edges if edges is not None and len(edges) else np.zeros((0, 2)), np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _damaged(name) from error
    texts = isinstance(labels, (list, tuple)) and all(
        isinstance(t, str) and t.isprintable() and 0 < len(t) <= _MAX_LABEL for t in labels
    )
    sound = texts and len(labels) == len(rows) > 0 and rows.min() >= 0 and rows.max() < joints
    if not sound or pairs.ndim != 2 or pairs.shape[1] != 2:
        raise _damaged(name)
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(rows)):
        raise _damaged(name)
    return Skeleton(tuple(labels), rows.astype(np.int32), pairs.astype(np.int32))


def make_skeletons(found: dict[str, tuple[Any, Any, Any]], joints: int) -> dict[str, Skeleton]:
    """name -> (labels, indices, edges) as checked skeletons. The nameless one, all joints, becomes all_<count>."""
    if len(found) > _MAX_SKELETONS:
        raise Refusal(f"it has {len(found)} skeletons, more than {_MAX_SKELETONS}")
    out = {}
    for name, (labels, indices, edges) in found.items():
        skeleton = make_skeleton(name, labels, indices, edges, joints)
        name = name or f"all_{len(skeleton.labels)}"
        if not _NAME.fullmatch(name):
            raise _damaged(name)
        out[name] = skeleton
    return out


def _damaged(name: str) -> Refusal:
    return Refusal(f"its skeleton '{said(name, 40)}' is damaged")
