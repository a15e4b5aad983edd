"""A first fit of a piece of a track, for the eye: a few frames are solved, the others lie on the way between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from backend.fit.camerafitter import Fit, Fitter
from backend.fit.frames import Effort
from backend.fit.solver import timing

EVERY_S = 0.125
"""Seconds between frames that are solved: eight a second follow steps and waves (`tests/data/demo.mp4` and
`two_people.mp4`: the others lie some millimetres off where a fit of their own would put them)."""
EFFORT = Effort(wide=0.3, narrow=0.05, shape_rounds=1, polish=False)
"""The final fit goes on to the end."""


def keys(times: np.ndarray, seen: np.ndarray, every_s: float) -> np.ndarray:
    """Rows of frames in which something is seen (`seen`, (n,)), about `every_s` apart, the first and the last among
    them; `times`: (n,) seconds, rising."""
    rows = np.flatnonzero(seen)
    if len(rows) < 3:
        return rows
    at = times[rows]
    wanted = np.linspace(at[0], at[-1], int(np.ceil((at[-1] - at[0]) / every_s - 1e-6)) + 1)
    after = np.searchsorted(at, wanted).clip(1, len(at) - 1)
    nearest = after - (wanted - at[after - 1] < at[after] - wanted)
    return rows[np.unique(nearest)]


def sketch(fitter: Fitter, points3d: np.ndarray, points2d: np.ndarray, uncertainty: np.ndarray, times: np.ndarray,
           betas: np.ndarray | None = None) -> Fit:  # fmt: skip
    """As `Fitter.fit` without ties in time: all n frames, of which about eight a second are solved."""
    n = len(times)
    seen = (np.isfinite(points3d).all(-1) & np.isfinite(uncertainty)).any(1)
    rows = keys(times, seen, EVERY_S)
    if len(rows) == 0:
        rows = np.zeros(1, int)
    some = (a[rows] for a in (points3d, points2d, uncertainty, times))
    found = fitter.fit(*some, betas=betas, smooth=0, effort=EFFORT)
    if len(rows) == n:
        return found
    with torch.inference_mode():
        # Every frame begins as the solved one before it; those that are not solved then move between two.
        before = (np.searchsorted(rows, np.arange(n), side="right") - 1).clip(0)
        known = np.isin(np.arange(n), rows)
        state = found.state.take(torch.as_tensor(before, device=fitter.device))
        state = timing.bridge(state, torch.as_tensor(known, device=fitter.device), times)
        joints = fitter.model.chain(state)[2].permute(2, 0, 1).float().cpu().numpy()
    share = np.interp(times, times[rows], np.arange(len(rows)))
    low = share.astype(int).clip(max=max(len(rows) - 2, 0))
    high = (low + 1).clip(max=len(rows) - 1)
    part = (share - low)[:, None].astype(np.float32)
    sigma = found.joint_uncertainty[low] * (1 - part) + found.joint_uncertainty[high] * part
    return replace(fitter.result(state, found.betas, joints, sigma), betas=found.betas)


__all__ = ["keys", "sketch"]
