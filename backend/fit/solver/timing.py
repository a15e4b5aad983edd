"""Frames tied in time: white acceleration on every joint's turn and on the place of the pelvis.

Every frame's own data count with their full matrix, so that what is seen well is left as it is and what is seen
badly follows the motion. A second difference over steps of dt seconds of a curve driven by white acceleration of
spectral density q has a variance of about q dt^3 (Sarkka, "Bayesian Filtering and Smoothing", ch. 2).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

from backend.body.skeleton import JOINT, N_JOINTS
from backend.fit.solver import batchlast as bl
from backend.fit.solver.skin import SkinModel, State

_TRUNK = [
    JOINT[n] for n in ("pelvis", "spine1", "spine2", "spine3", "neck", "left_collar", "right_collar", "head")
]
_TOES = [JOINT["left_foot"], JOINT["right_foot"]]
LIMB_DENSITY, TRUNK_DENSITY, TOE_DENSITY = 200.0, 50.0, 15.0
"""rad^2/s^3: limbs whip round faster than a trunk turns."""
_LAG_S = 4 / 30
_STIFF, _SLACK = 200.0, 4.0
ROOT_DENSITY = (25.0, 25.0, 25.0)
"""m^2/s^3 along x, y, z of the targets' axes."""
LONGEST_GAP_S = 0.5
"""Seconds between two frames that a motion is carried over: in half a second a step is done, and what lies between may
be anything."""
_ROUNDING_S = 2e-3


def is_hole(steps: np.ndarray) -> np.ndarray:
    """Of seconds from one frame to the next: whether nothing is known of what lies between them, which ties nothing."""
    return steps > LONGEST_GAP_S + _ROUNDING_S


def densities(joints: Tensor, strength: float, root: tuple[float, float, float], like: Tensor) -> Tensor:
    """(k * 3 + 3,) spectral densities of the unknowns of `joints` (k,) and the root; `strength` divides them all."""
    q = torch.full((N_JOINTS, 3), LIMB_DENSITY)
    q[_TRUNK], q[_TOES] = TRUNK_DENSITY, TOE_DENSITY
    q = torch.cat([q[joints.cpu()].reshape(-1), torch.tensor(root)])
    return (q / max(strength, 1e-6)).to(like)


def learnt_densities(
    state: State, joints: Tensor, variance: Tensor, times: Tensor, density: Tensor
) -> Tensor:
    """Densities that this motion has, group by group (place, trunk, limbs, fingers), at most `_SLACK` times and at
    least a `_STIFF`th of `density` (D,).

    Second differences over `_LAG_S` of white acceleration grow with the cube of their span, those of noise do
    not: what is left of them after the noise's own share, `variance` (n, D) of each frame alone, is the motion's.
    """
    n, steps = state.root.shape[-1], np.diff(times.numpy())
    dt = float(np.median(steps))
    m = max(1, round(_LAG_S / dt))
    if n < 4 * m:
        return density
    holes = np.concatenate([[0], np.cumsum(is_hole(steps))])
    whole = torch.as_tensor(holes[2 * m :] == holes[: -2 * m], device=variance.device)
    if int(whole.sum()) < 2 * m:
        return density
    R = state.rotations[joints]
    turn = bl.log(bl.mm(R[..., m:], bl.transpose(R[..., :-m])))
    step = torch.cat([turn.flatten(0, 1), state.root[:, m:] - state.root[:, :-m]]).T
    d = (step[m:] - step[:-m])[whole]
    noise = (variance[: -2 * m] + 4 * variance[m:-m] + variance[2 * m :])[whole]
    per = 2 / 3 * (m * dt) ** 3
    noise = noise.mean(0).double()
    power = (d * d).mean(0).double() - noise
    # What is seen badly says little of how lively the motion is.
    say = (density.double() * per / (density.double() * per + noise)) ** 2
    out = density.clone()
    for rows in _groups(joints, len(density)):
        if len(rows):
            ratio = float(
                (say * power / (density.double() * per))[rows].sum() / say[rows].sum().clamp_min(1e-12)
            )
            out[rows] = density[rows] * min(max(ratio, 1 / _STIFF), _SLACK)
    return out


def _groups(joints: Tensor, unknowns: int) -> list[Tensor]:
    trunk = torch.tensor([int(j) in _TRUNK for j in joints])
    finger = joints.cpu() >= 25
    kinds = [trunk, ~trunk & ~finger, finger]
    rows = [torch.where(kind.repeat_interleave(3))[0] for kind in kinds]
    return [*rows, torch.arange(unknowns - 3, unknowns)]


def weights(times: Tensor, density: Tensor) -> Tensor:
    """(n-2, D) of the second differences, from times (n,) in seconds; 0 for those that span a hole."""
    dt = ((times[2:] - times[:-2]) / 2).clamp_min(1e-4)
    holes = torch.as_tensor(is_hole(np.diff(times.numpy())), device=density.device)
    tied = ~(holes[1:] | holes[:-1])
    return tied[:, None] / (density[None] * dt[:, None].to(density) ** 3)


def differences(state: State, joints: Tensor) -> Tensor:
    """(n-2, D): change of the rotation step (parent's axes) and of the pelvis' step at each inner frame."""
    R = state.rotations[joints]
    turn = bl.log(bl.mm(R[..., 1:], bl.transpose(R[..., :-1])))
    step = torch.cat([turn.flatten(0, 1), state.root[:, 1:] - state.root[:, :-1]]).T
    return step[1:] - step[:-1]


def to_parents(
    model: SkinModel, world: Tensor, H: Tensor, g: Tensor, joints: Tensor, root: int
) -> tuple[Tensor, Tensor]:
    """Matrix (n, D, D) and slope (n, D) of `joints` and root, increments turned from the world's axes into the
    parents'; `H`, `g` are of more unknowns, in world axes, the root's from row `root` on; coefficients are held."""
    k = len(joints)
    rows = torch.cat([(3 * joints[:, None] + torch.arange(3, device=joints.device)).reshape(-1),
                      torch.arange(root, root + 3, device=joints.device)])  # fmt: skip
    H, g = H[:, rows][:, :, rows], g[:, rows]
    up = world[model.parent[joints]].permute(3, 0, 1, 2)
    up = torch.where((joints == 0)[:, None, None], torch.eye(3, dtype=up.dtype, device=up.device), up)
    turn = H.new_zeros(len(H), k, 3, k, 3)
    place = torch.arange(k, device=H.device)
    turn[:, place, :, place] = up.transpose(0, 1)
    turn = turn.reshape(len(H), 3 * k, 3 * k)
    out = H.clone()
    out[:, : 3 * k, : 3 * k] = turn.mT @ H[:, : 3 * k, : 3 * k] @ turn
    out[:, : 3 * k, 3 * k :] = turn.mT @ H[:, : 3 * k, 3 * k :]
    out[:, 3 * k :, : 3 * k] = out[:, : 3 * k, 3 * k :].mT
    g = torch.cat([(turn.mT @ g[:, : 3 * k, None])[..., 0], g[:, 3 * k :]], 1)
    return out, g


def along(rows: Tensor, axes: Tensor) -> Tensor:
    """(..., D) whose last three are the root's -> the same along `axes`, the columns of (3, 3)."""
    return torch.cat([rows[..., :-3], rows[..., -3:] @ axes], -1)


def tied_step(H: Tensor, g: Tensor, weight: Tensor, difference: Tensor, near_blocks: Tensor | None = None,
              axes: Tensor | None = None) -> Tensor:  # fmt: skip
    """Step (n, D) of all frames: blocks H (n, D, D) of each frame, `near_blocks` (n - 1, D, D) between each and the
    next, and second-difference penalties between them, by a banded Cholesky factor in float64 on the CPU. `axes`:
    columns (3, 3) along which `weight` holds the root; None for its own."""
    n, D = g.shape
    if axes is not None:
        g, difference = along(g, axes), along(difference, axes)
        H = along(along(H, axes).mT, axes).mT
        if near_blocks is not None:
            near_blocks = along(along(near_blocks, axes).mT, axes).mT
    w, s = weight.double().cpu().numpy(), difference.double().cpu().numpy()
    diagonal = np.zeros((n, D))
    diagonal[:-2] += w
    diagonal[1:-1] += 4 * w
    diagonal[2:] += w
    near = np.zeros((n, D))  # coupling of frame t with t + 1
    near[:-2] -= 2 * w
    near[1:-1] -= 2 * w
    right = g.double().cpu().numpy().copy()
    pull = w * s
    right[:-2] -= pull
    right[1:-1] += 2 * pull
    right[2:] -= pull
    blocks = H.double().cpu().numpy()
    band = np.zeros((2 * D + 1, n * D))  # lower band: band[i - j, j] = A[i, j]
    for k in range(D):
        at = np.arange(D - k)
        band[k].reshape(n, D)[:, : D - k] = blocks[:, at + k, at]
    band[0] += diagonal.ravel() + 1e-6
    band[D].reshape(n, D)[:-1] = near[:-1]
    band[2 * D].reshape(n, D)[: n - 2] = w
    if near_blocks is not None:
        between = near_blocks.double().cpu().numpy()
        for b in range(D):
            # A[(t + 1) D + a, t D + b] of every t and a.
            band[D - b : 2 * D - b].reshape(D, n, D)[:, :-1, b] += between[:, b].T
    top = band[0].max()
    for floor in (1e-9, 1e-6, 1e-3):
        band[0] += floor * top
        try:
            step = solveh_banded(band, right.ravel(), lower=True, check_finite=False)
            break
        except np.linalg.LinAlgError:
            continue
    else:
        step = np.zeros(n * D)
    out = torch.as_tensor(step.reshape(n, D)).to(g)
    return out if axes is None else along(out, axes.T)


def bridge(state: State, seen: Tensor, times: np.ndarray) -> State:
    """Frames that show nothing (`seen` False, (n,)) begin on the way between their neighbours, by their `times` (n,);
    beside a hole, as the neighbour on their side of it."""
    rows = torch.where(seen)[0]
    if len(rows) in (0, len(seen)):
        return state
    at = torch.arange(len(seen), device=rows.device)
    after = torch.searchsorted(rows, at).clamp(max=len(rows) - 1)
    before = (after - (rows[after] > at).long()).clamp_min(0)
    a, b = rows[before], rows[after]
    when = torch.as_tensor(times, dtype=torch.float64, device=rows.device)
    piece = torch.as_tensor(np.concatenate([[0], np.cumsum(is_hole(np.diff(times)))]), device=rows.device)
    a, b = (torch.where((piece[x] != piece) & (piece[y] == piece), y, x) for x, y in ((a, b), (b, a)))
    share = ((when - when[a]) / (when[b] - when[a]).clamp_min(1e-9)).clamp(0, 1).to(state.root)
    turn = bl.log(bl.mm(state.rotations[..., b], bl.transpose(state.rotations[..., a])))
    R = bl.mm(bl.exp(turn * share), state.rotations[..., a])
    between = State(R, torch.lerp(state.root[:, a], state.root[:, b], share), state.coefs, state.log_scale)
    return state.where(seen, between)


def apply(state: State, joints: Tensor, delta: Tensor, most: float = 0.6) -> State:
    """`delta`: (n, D) of `joints` in parents' axes and the root, applied from the left; turns capped at `most` rad."""
    k = len(joints)
    turn = delta[:, : 3 * k].T.reshape(k, 3, -1)
    turn = turn * (most / turn.norm(dim=1, keepdim=True).clamp_min(1e-9)).clamp(max=1)
    R = state.rotations.clone()
    R[joints] = bl.mm(bl.exp(turn), R[joints])
    return State(R, state.root + delta[:, 3 * k :].T, state.coefs, state.log_scale)


def stitch(parts: list[tuple[int, State]]) -> State:
    """Overlapping windows (first frame, state), in order, blended: rotations along the arc, places linearly."""
    _, whole = parts[0]
    for first, part in parts[1:]:
        k = whole.root.shape[-1] - first
        a = torch.linspace(0, 1, k + 2, dtype=whole.root.dtype, device=whole.root.device)[1:-1]
        old = whole.rotations[..., first:]
        turn = bl.log(bl.mm(part.rotations[..., :k], bl.transpose(old)))
        mixed = State(
            bl.mm(bl.exp(turn * a), old),
            torch.lerp(whole.root[:, first:], part.root[:, :k], a),
            part.coefs[:, :k],
            part.log_scale[:k],
        )
        whole = State.concat([whole.take(slice(0, first)), mixed, part.take(slice(k, None))])
    return whole
