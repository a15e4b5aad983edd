"""Errors of predicted joints against a reference, in millimetres."""

from __future__ import annotations

import numpy as np


def procrustes(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """`predicted` turned, scaled and moved onto `reference`: both (n, J, 3), frame by frame (Gower 1975)."""
    a = predicted - predicted.mean(1, keepdims=True)
    b = reference - reference.mean(1, keepdims=True)
    U, S, Vt = np.linalg.svd(np.einsum("nja,njb->nab", b, a))
    sign = np.ones_like(S)
    sign[:, 2] = np.sign(np.linalg.det(U @ Vt))
    R = (U * sign[:, None]) @ Vt
    scale = (S * sign).sum(1) / (a**2).sum((1, 2))
    return scale[:, None, None] * np.einsum("nab,njb->nja", R, a) + reference.mean(1, keepdims=True)


def pa_mpjpe(predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mean joint error per frame after Procrustes alignment. (n, J, 3) metres -> (n,) mm."""
    return 1000 * np.linalg.norm(procrustes(predicted, reference) - reference, axis=-1).mean(1)


def root_mpjpe(predicted: np.ndarray, reference: np.ndarray, root: list[int]) -> np.ndarray:
    """Mean joint error per frame, both relative to the mean of the `root` joints. (n, J, 3) metres -> (n,) mm."""
    a = predicted - predicted[:, root].mean(1, keepdims=True)
    b = reference - reference[:, root].mean(1, keepdims=True)
    return 1000 * np.linalg.norm(a - b, axis=-1).mean(1)


def acceleration_error(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Mean length of the difference of second differences, mm per frame². (n, J, 3) metres, one row for each frame:
    NaN where a place is not known, which leaves out its neighbours. NaN when nothing is left."""
    length = np.linalg.norm(np.diff(predicted - reference, 2, axis=0), axis=-1)
    length = length[np.isfinite(length)]
    return float(1000 * length.mean()) if len(length) else float("nan")
