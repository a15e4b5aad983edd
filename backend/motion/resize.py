"""The same person larger or smaller about the camera: the picture stays, size and distance change together."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from backend.body.model import Body
from backend.fit.camerafitter import Fitter
from backend.fit.solver.observe import Data
from backend.fit.solver.skin import State


def stature(body: Body, betas: np.ndarray) -> float:
    """Metres from the soles to the top of the head in the rest pose."""
    rows, directions = _ends(body)
    k = len(betas)
    height = body.v_template[rows, 1] + directions[:, :k] @ betas
    return float(height[1] - height[0])


@lru_cache(maxsize=4)
def _ends(body: Body) -> tuple[np.ndarray, np.ndarray]:
    rows = np.array([body.v_template[:, 1].argmin(), body.v_template[:, 1].argmax()])
    return rows, body.shapedirs[rows, 1]


def resized(fitter: Fitter, state: State, obs: Data, factor: float) -> tuple[State, Data]:
    """`state` and what was seen by `factor` larger about the camera. The shape is the nearest that has the bones, so
    that a very large factor is not reached in full; the distance then goes as far as the shape does."""
    if abs(factor - 1) < 1e-4:
        return state, obs
    coefs = state.coefs[:, 0].double().cpu().numpy()
    model = fitter.model
    J = model.joints.double().cpu().numpy()
    D = model.joint_directions.double().cpu().numpy()
    parent = model.parent.cpu().numpy()
    body = slice(1, 22)
    bones, moves = (J - J[parent])[body], (D - D[parent])[body]
    now = bones + moves @ coefs
    A = np.concatenate([moves.reshape(-1, len(coefs)), 1e-3 * np.eye(len(coefs))])
    b = np.concatenate([((factor - 1) * now).ravel(), np.zeros(len(coefs))])
    change = np.linalg.lstsq(A, b, rcond=None)[0]
    after = bones + moves @ (coefs + change)
    reached = float((after * now).sum() / (now * now).sum())
    new = torch.as_tensor(coefs + change, dtype=state.coefs.dtype, device=state.coefs.device)
    larger = replace(obs, targets=obs.targets * reached)
    return replace(state, coefs=new[:, None].expand_as(state.coefs), root=state.root * reached), larger


__all__ = ["resized", "stature"]
