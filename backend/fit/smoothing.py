"""The time term of the fit: white acceleration noise on every joint's rotation and on the pelvis position.

A second difference over steps of dt seconds of a curve driven by white acceleration of spectral density q has a
variance of about q dt³, so its weight is 1/(q dt³) whatever the frame rate (Särkkä, "Bayesian Filtering and
Smoothing", ch. 2; the banded system is the Whittaker smoother with a prior that the data terms complete).
"""

from __future__ import annotations

import numpy as np
import roma
import torch
from scipy.linalg import solveh_banded

from backend.fit.pointmodel import State
from backend.fit.oldprior import BODY_JOINTS
from backend.fit.residuals import UNKNOWNS


def second_differences(state: State) -> torch.Tensor:
    """(n-2, 69): change of the rotation step (rotvec, parent's frame) and of the pelvis step at each inner frame."""
    R = state.rotations[:, :BODY_JOINTS]
    step = roma.rotmat_to_rotvec(R[1:] @ R[:-1].transpose(-1, -2)).reshape(len(R) - 1, -1)
    step = torch.cat([step, state.root[1:] - state.root[:-1]], 1)
    return step[1:] - step[:-1]


def time_weights(times: torch.Tensor, density: torch.Tensor) -> torch.Tensor:
    """`times`: (n,) s, `density`: (69,) -> (n-2, 69) weights 1/(q dt³) with dt the mean of the two steps."""
    dt = ((times[2:] - times[:-2]) / 2).clamp_min(1e-4)
    return 1 / (density[None] * dt[:, None] ** 3)


def solve_smooth(
    H: torch.Tensor, g: torch.Tensor, weights: torch.Tensor, differences: torch.Tensor
) -> torch.Tensor:
    """Step (n, 69) of the whole window: block-diagonal data terms plus second-difference penalties, banded Cholesky.

    `H`: (n, 69, 69), `g`: (n, 69), `weights`, `differences`: (n-2, 69).
    """
    n, D = g.shape
    w = weights.numpy() if weights.device.type == "cpu" else weights.cpu().numpy()
    s = differences.cpu().numpy()
    diag = np.zeros((n, D))
    diag[:-2] += w
    diag[1:-1] += 4 * w
    diag[2:] += w
    near = np.zeros((n, D))  # coupling of frame t with t + 1
    near[:-2] += -2 * w
    near[1:-1] += -2 * w
    rhs = g.cpu().numpy().copy()
    pull = w * s
    rhs[:-2] -= pull
    rhs[1:-1] += 2 * pull
    rhs[2:] -= pull
    blocks = H.cpu().numpy().copy()
    blocks[:, np.arange(D), np.arange(D)] += diag
    # Lower banded storage: band[i - j, j] = A[i, j]
    band = np.zeros((2 * D + 1, n * D))
    for k in range(D):
        rows = np.arange(D - k)
        band[k].reshape(n, D)[:, : D - k] = blocks[:, rows + k, rows]
    band[D].reshape(n, D)[:-1] = near[:-1]
    band[2 * D].reshape(n, D)[: n - 2] = w
    step = solveh_banded(
        band, rhs.ravel(), lower=True, overwrite_ab=True, overwrite_b=True, check_finite=False
    )
    return torch.as_tensor(step.reshape(n, D), dtype=g.dtype, device=g.device)


def densities(strength: float, dtype: torch.dtype, device: str | torch.device) -> torch.Tensor:
    """Spectral densities (69,), rad²/s³ and m²/s³; `strength` 1 is the default, 0 is no smoothing at all.

    Limbs whip round faster than a trunk turns; depth is what a single camera sees worst, so it is smoothed most.
    """
    q = torch.full((BODY_JOINTS, 3), 200.0)
    q[[0, 3, 6, 9, 12, 13, 14, 15]] = 50.0
    q[[10, 11]] = 15.0
    root = torch.tensor([25.0, 25.0, 6.0])
    q = torch.cat([q.reshape(-1), root]).to(dtype=dtype, device=device)
    assert len(q) == UNKNOWNS
    return q / max(strength, 1e-6)
