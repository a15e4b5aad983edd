"""Delta mush: skinning whose result is smoothed and given its rest detail back, so that joints do not dent.

Method: Mancewicz et al., "Delta Mush: smoothing deformations while preserving detail" (2014); the detail is
turned by the rotation nearest to the smoothed blend of the bones' rotations (Le and Lewis, "Direct Delta Mush
Skinning", 2019, in its simplest form).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


class Mush:
    """Smoother for one mesh. `faces` (F, 3), `weights` (V, J) skinning, `steps` of uniform smoothing."""

    def __init__(self, faces: np.ndarray, weights: np.ndarray, steps: int = 16) -> None:
        V = len(weights)
        i, j = faces.ravel(), faces[:, [1, 2, 0]].ravel()
        A = sp.coo_matrix((np.ones(len(i)), (i, j)), (V, V)).tocsr()
        A = ((A + A.T) > 0).astype(np.float64)
        degree = np.maximum(np.asarray(A.sum(1)).ravel(), 1)
        lonely = sp.diags((np.asarray(A.sum(1)).ravel() == 0).astype(float))
        self.step = 0.5 * sp.identity(V) + 0.5 * (sp.diags(1 / degree) @ A + lonely)
        self.steps = steps
        self.weights = self.smooth(weights)

    def smooth(self, x: np.ndarray) -> np.ndarray:
        """(V, ...) values, averaged with their neighbours `steps` times."""
        flat = x.reshape(len(x), -1)
        for _ in range(self.steps):
            flat = self.step @ flat
        return flat.reshape(x.shape)

    def apply(self, rest: np.ndarray, posed: np.ndarray, rotations: np.ndarray) -> np.ndarray:
        """`rest` (V, 3) skinned to `posed` (V, 3) by joint `rotations` (J, 3, 3) -> smoothed (V, 3)."""
        blend = (self.weights @ rotations.reshape(-1, 9)).reshape(-1, 3, 3)
        U, _, Vt = np.linalg.svd(blend)
        turn = U @ Vt
        detail = rest - self.smooth(rest)
        return self.smooth(posed) + np.einsum("vab,vb->va", turn, detail)
