"""How sure a point is, as a colour."""

from __future__ import annotations

import numpy as np

SURE, GUESS = 0.02, 0.15
"""Metres: the ends of the colour scale."""


def colours(uncertainty: np.ndarray) -> np.ndarray:
    """(n,) metres -> (n, 3) uint8 RGB from green through yellow to red; NaN is a guess."""
    t = np.clip((np.nan_to_num(uncertainty, nan=GUESS) - SURE) / (GUESS - SURE), 0, 1)
    return (255 * np.stack([np.clip(2 * t, 0, 1), np.clip(2 - 2 * t, 0, 1), 0.1 + 0 * t], -1)).astype(
        np.uint8
    )
