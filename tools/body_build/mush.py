"""Delta mush: skinning whose result is smoothed and given its rest detail back, so that joints do not dent.

Method: Mancewicz et al., "Delta Mush: smoothing deformations while preserving detail" (2014); the detail is
turned by the rotation nearest to the smoothed blend of the bones' rotations (Le and Lewis, "Direct Delta Mush
Skinning", 2019, in its simplest form).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


class Mush:
    """Smoother for one mesh in one rest pose. `faces` (F, 3), `rest` (V, 3), `steps` of uniform smoothing."""

    def __init__(self, faces: np.ndarray, rest: np.ndarray, steps: int) -> None:
        V = len(rest)
        i, j = faces.ravel(), faces[:, [1, 2, 0]].ravel()
        A = sp.coo_matrix((np.ones(len(i)), (i, j)), (V, V)).tocsr()
        A = ((A + A.T) > 0).astype(np.float64)
        degree = np.asarray(A.sum(1)).ravel()
        lonely = sp.diags((degree == 0).astype(float))
        self.step = (0.5 * sp.identity(V) + 0.5 * (sp.diags(1 / np.maximum(degree, 1)) @ A + lonely)).tocsr()
        self.steps = steps
        self.detail = rest - self.smooth(rest)

    def smooth(self, x: np.ndarray) -> np.ndarray:
        """(V, ...) values, averaged with their neighbours `steps` times."""
        flat = x.reshape(len(x), -1)
        for _ in range(self.steps):
            flat = self.step @ flat
        return flat.reshape(x.shape)

    def apply(self, posed: np.ndarray, blends: np.ndarray) -> np.ndarray:
        """`posed` (V, 3): the rest mesh skinned by `blends` (V, 3, 3), sums of rotations times weights. -> (V, 3)."""
        U, _, Vt = np.linalg.svd(self.smooth(blends))
        return self.smooth(posed) + np.einsum("vab,vb->va", U @ Vt, self.detail)
