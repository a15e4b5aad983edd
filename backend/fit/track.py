"""Many frames of one person: a shape for all of them, ties in time, and what is reported of each frame.

Frames are kept in parts of some dozens, as averaged points: a part of 64 frames takes 1.5 MB, so that ten thousand
frames stay far below a gigabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from backend.body.skeleton import N_JOINTS
from backend.fit.helps import Help
from backend.fit.results import BodyFit, continuous
from backend.fit.solver import batchlast as bl
from backend.fit.solver import timing
from backend.fit.solver.arrow import REST, ArrowFactor
from backend.fit.solver.equations import ROTATIONS
from backend.fit.solver.jacobian import jacobian
from backend.fit.solver.newton import Newton, Solution
from backend.fit.solver.observe import Data
from backend.fit.solver.skin import SkinModel, State
from backend.fit.view import View

WINDOW, OVERLAP = 192, 48
"""Frames tied together at once, and shared by neighbouring windows."""
UNSEEN_RAD, UNSEEN_M = 1.0, 1.0
"""How unsure a frame is of the heading and the place of a body that it does not show."""
_UNSEEN = 1e-4
"""1/variance that everything else has where nothing is seen, 1/rad^2."""
ROUNDS = 4
_GAIN = 1e-4


T = TypeVar("T")


def exhaust(steps: Generator[Any, None, T]) -> T:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@dataclass(frozen=True)
class Part:
    """Some frames of a track."""

    data: Data
    """What was seen, the targets about `centre`."""
    found: Solution
    """The bodies that were found, about `centre`."""
    centre: Tensor
    """(3, B) metres."""


@dataclass(frozen=True)
class Tie:
    """How the frames of a track are tied in time."""

    times: Tensor
    """(n,) seconds, rising."""
    strength: float
    """1 for human motion."""
    joints: tuple[int, ...] | None = None
    """Rows of the joints that are tied and solved; None for all."""
    root: tuple[float, float, float] = timing.ROOT_DENSITY
    """Spectral densities of the root's place along x, y, z."""
    memory_s: float | None = None
    """Seconds for which the errors of neighbouring frames are alike; None: as the residuals say."""
    learn: bool = True
    """Learn from the frames how lively the motion is; otherwise the densities are taken as they stand."""
    axes: Tensor | None = None
    """(3, 3) whose columns are the axes that `root` speaks of; None for those of the targets."""
    helps: tuple[Help, ...] = ()
    """What else is known of the frames."""
    rounds: int = 0
    """Steps at most; 0 for the usual number."""
    view: View | None = None
    """The camera of each frame, where bodies are in a world in which it moves; None where they are in its space."""

    def take(self, frames: slice) -> Tie:
        """For some frames in a row."""
        return replace(self, times=self.times[frames], helps=tuple(h.take(frames) for h in self.helps),
                       view=None if self.view is None else self.view.take(frames))  # fmt: skip


def shows(data: Data) -> Tensor:
    """(B,) bool: frames in which anything was seen."""
    seen = data.weights.sum(0) > 0
    return seen if data.ray_weights is None else seen | (data.ray_weights.sum(0) > 0)


def put(data: Data, part: Data, frames: Tensor) -> Data:
    """`data` with `part` in place of its `frames` (indices)."""
    shift = data.shift
    if part.shift is not None:
        shift = torch.zeros_like(data.targets) if shift is None else shift
        shift = shift.index_copy(-1, frames, part.shift)
    return replace(data, targets=data.targets.index_copy(-1, frames, part.targets),
                   weights=data.weights.index_copy(-1, frames, part.weights), shift=shift)  # fmt: skip


def shared_shape(
    newton: Newton, parts: list[Part], evidence: float | None, rounds: int = 1
) -> tuple[Tensor, list[Part]]:
    """One shape for all frames: (nc, 1), and the parts solved again with it.

    A frame's equations with the pose eliminated (Schur complement) say which coefficients it wants and how surely;
    summed over the frames they give the shape that all of them agree on. `evidence`: count as so many frames at most.
    """
    nc, hold = newton.model.coefs, newton.options.coef_precision
    held = newton.with_options(shape=False)
    coefs = parts[0].data.targets.new_zeros(nc, 1)
    for _ in range(rounds):
        S, right, n = torch.zeros(nc, nc, dtype=torch.float64), torch.zeros(nc, dtype=torch.float64), 0
        for part in parts:
            schur, wanted, seen = _shape_equations(newton, part)
            S, right, n = S + schur, right + wanted, n + seen
        prior = hold * (1.0 if evidence is None else max(n / evidence, 1.0))
        found = torch.linalg.solve((S + S.T) / 2 + prior * torch.eye(nc, dtype=torch.float64), right)
        coefs = found.to(coefs)[:, None].clamp(-5, 5)
        parts = [replace(p, found=held.solve(p.data, p.found.state.shaped(coefs))) for p in parts]
    return coefs, parts


def _shape_equations(newton: Newton, part: Part) -> tuple[Tensor, Tensor, int]:
    """Summed over the frames of a part, without the prior on the shape: matrix (nc, nc), right-hand side (nc,), and
    the number of frames that show anything."""
    H, g = (a.double() for a in newton.information(part.data, part.found))
    nc, hold = newton.model.coefs, newton.options.coef_precision
    c, keep = (
        slice(ROTATIONS + 3, ROTATIONS + 3 + nc),
        torch.ones(H.shape[1], dtype=torch.bool, device=H.device),
    )
    keep[c] = False
    coefs = part.found.state.coefs.T.double()
    pose = H[:, keep][:, :, keep]
    pose = pose + torch.diag_embed(1e-6 * pose.diagonal(dim1=1, dim2=2) + 1e-6)
    side = H[:, keep][:, :, c]
    solved = torch.linalg.solve(pose, torch.cat([side, g[:, keep, None]], 2))
    seen = shows(part.data)
    schur = H[:, c, c] - side.mT @ solved[..., :nc] - hold * torch.eye(nc, dtype=H.dtype, device=H.device)
    wanted = (
        g[:, c] + hold * coefs - (side.mT @ solved[..., nc:])[..., 0] + (schur @ coefs[..., None])[..., 0]
    )
    use = seen & torch.isfinite(schur).all((1, 2)) & torch.isfinite(wanted).all(1)
    return schur[use].double().sum(0).cpu(), wanted[use].double().sum(0).cpu(), int(use.sum())


def _joined(parts: list[Part]) -> Part:
    data = parts[0].data
    names = [n for n in ("targets", "weights", "rays", "ray_weights") if getattr(data, n) is not None]
    columns = {n: torch.cat([getattr(p.data, n) for p in parts], -1) for n in names}
    shift = None
    if any(p.data.shift is not None for p in parts):
        zeros = [torch.zeros_like(p.data.targets) if p.data.shift is None else p.data.shift for p in parts]
        shift = torch.cat(zeros, -1)
    found = Solution(State.concat([p.found.state for p in parts]), torch.cat([p.found.noise for p in parts]),
                     torch.cat([p.found.shared for p in parts]))  # fmt: skip
    return Part(replace(data, shift=shift, **columns), found, torch.cat([p.centre for p in parts], -1))


def _cut(parts: list[Part], first: int, last: int) -> Part:
    """Frames [first, last) of all parts as one."""
    out, at = [], 0
    for part in parts:
        n = part.centre.shape[-1]
        low, high = max(first - at, 0), min(last - at, n)
        if low < high:
            rows = slice(low, high)
            out.append(Part(part.data.take(rows), part.found.take(rows), part.centre[:, rows]))
        at += n
    return _joined(out)


def tied(newton: Newton, parts: list[Part], tie: Tie) -> list[Part]:
    """The parts as one, its frames tied in time, window by window."""
    return exhaust(tied_steps(newton, parts, tie))


def tied_steps(newton: Newton, parts: list[Part], tie: Tie) -> Generator[int, None, list[Part]]:
    """`tied`, step by step: after each the frames that took it. A track of n frames in windows takes
    `tied_work(n)` of them."""
    n = sum(p.centre.shape[-1] for p in parts)
    windows = []
    for first, last in _windows(n):
        own = tie.take(slice(first, last))
        state = yield from _window(newton, _cut(parts, first, last), own, own.times)
        windows.append((first, state))
    whole = timing.stitch(windows)
    out, at = [], 0
    for part in parts:
        k = part.centre.shape[-1]
        state = whole.take(slice(at, at + k))
        state = replace(state, root=state.root - part.centre)
        out.append(replace(part, found=replace(part.found, state=state)))
        at += k
    return out


def tied_work(n: int) -> int:
    """Steps of single frames that `tied_steps` takes for n frames."""
    return ROUNDS * sum(last - first for first, last in _windows(n))


def _windows(n: int) -> list[tuple[int, int]]:
    """First frame and the one behind the last of each window over n frames."""
    firsts = range(0, max(n - OVERLAP, 1), WINDOW - OVERLAP)
    return [(first, min(first + WINDOW, n)) for first in firsts]


def memory(newton: Newton, part: Part) -> float:
    """Factor by which neighbouring frames repeat each other's errors: 1 for independent ones, from the correlation of
    the parts' mean residuals from frame to frame."""
    look = newton.look(part.data, part.found.state)
    W = newton.model.weights
    mean = (W.T @ (look.off.space * part.data.weights[:, None]).flatten(1)).reshape(N_JOINTS, 3, -1)
    mean = mean / (W.T @ part.data.weights).clamp_min(1e-12)[:, None]
    mean = mean - mean.mean(-1, keepdim=True)
    power = float((mean * mean).sum())
    rho = float((mean[..., 1:] * mean[..., :-1]).sum()) / max(power, 1e-30)
    rho = min(max(rho, 0.0), 0.9)
    return (1 + rho) / (1 - rho)


def _window(newton: Newton, part: Part, tie: Tie, times: Tensor) -> Generator[int, None, State]:
    """One window, its roots in the targets' own axes (not about the centres)."""
    data = replace(part.data, targets=part.data.targets + part.centre) if part.data.placed else part.data
    found = replace(part.found, state=replace(part.found.state, root=part.found.state.root + part.centre))
    if len(times) < 3:
        yield ROUNDS * len(times)
        return found.state
    joints = torch.arange(N_JOINTS, device=part.centre.device)
    if tie.joints is not None:
        joints = torch.tensor(tie.joints, device=part.centre.device)
    dt = float(np.median(np.diff(times.numpy())))
    repeated = memory(newton, part) if tie.memory_s is None else max(1.0, tie.memory_s / max(dt, 1e-3))
    density = timing.densities(joints, tie.strength * repeated, tie.root, part.centre)
    weight = timing.weights(times, density).to(part.centre)
    state, shared = timing.bridge(found.state, shows(data), times.numpy()), bool((found.shared > 0).any())
    axes = torch.eye(3).to(part.centre) if tie.axes is None else tie.axes.to(part.centre)
    cost = partial(_tied_cost, newton, data, found.noise, joints, weight, axes, tie)
    now, rounds = cost(state), tie.rounds or ROUNDS
    for k in range(rounds):
        newton.breathe()
        H, g = _tied_information(newton, data, replace(found, state=state), joints, tie.view)
        if k == 0 and tie.learn:
            own = torch.linalg.inv((H + torch.eye(H.shape[1]).to(H)).double()).diagonal(dim1=1, dim2=2)
            density = timing.learnt_densities(state, joints, own.to(H), times, density)
            weight = timing.weights(times, density).to(part.centre)
            cost = partial(_tied_cost, newton, data, found.noise, joints, weight, axes, tie)
            now = cost(state)
        near = None
        for shared_part in (h.share(newton.model, state, joints) for h in tie.helps):
            H, g = H + shared_part.H, g + shared_part.g
            if shared_part.near is not None:
                near = shared_part.near if near is None else near + shared_part.near
        delta = timing.tied_step(H, g, weight, timing.differences(state, joints), near, axes)
        # Shared errors are not in this cost, which then says nothing of the step.
        moved = _line_search(state, joints, delta, cost, None if shared else now)
        if moved is None:
            break
        state, then = moved
        gain, now = 1 - float(then / now), then
        if abs(gain) < _GAIN or (shared and k == 1):
            break
        if k + 1 < rounds:
            yield len(times) * ROUNDS // rounds
    yield max(ROUNDS - k * ROUNDS // rounds, 1) * len(times)
    return state


def _tied_information(
    newton: Newton, data: Data, found: Solution, joints: Tensor, view: View | None = None
) -> tuple[Tensor, Tensor]:
    """Matrix (n, D, D) and slope (n, D) of `joints` and root, about the parents' axes."""
    if view is not None:
        inward = replace(found, state=view.inward(found.state))
        return view.equations(*_tied_information(newton, data, inward, joints), first=bool(joints[0] == 0))
    world = newton.model.chain(found.state)[0]
    if data.isotropic or int(joints.max()) >= REST // 3:
        H, g = newton.information(data, found)
        return timing.to_parents(newton.model, world, H, g, joints, ROTATIONS)
    # The fingers are held, so nobody needs what they say.
    H, slope, _ = newton.pieces(data, found, fingers=False)
    g = torch.cat([slope[:REST], slope[ROTATIONS:]]).T
    return timing.to_parents(newton.model, world, H.shiftless(), g, joints, REST)


def _tied_cost(
    newton: Newton, data: Data, s: Tensor, joints: Tensor, weight: Tensor, axes: Tensor, tie: Tie, state: State,
) -> Tensor:  # fmt: skip
    """() float64: what the frames cost by themselves under the noise `s`, what the ties between them cost, and what
    the helps of `tie` say."""
    d = timing.along(timing.differences(state, joints), axes).double()
    seen = state if tie.view is None else tie.view.inward(state)
    own = newton.cost(newton.look(data, seen), s).double()
    return own.sum() + (weight.double() * d * d).sum() + sum(h.cost(newton.model, state) for h in tie.helps)


def _line_search(
    state: State, joints: Tensor, delta: Tensor, cost: Callable[[State], Tensor], below: Tensor | None
) -> tuple[State, Tensor] | None:
    """The step `delta`, its half, its quarter or its eighth: the first that costs less than `below` (None: the whole
    step), with its cost; None when each costs more."""
    for _ in range(4):
        trial = timing.apply(state, joints, delta)
        then = cost(trial)
        if below is None or then < below:
            return trial, then
        delta = delta / 2
    return None


def report(newton: Newton, parts: list[Part], joints: SkinModel, uncertainties: bool) -> BodyFit:
    """Everything of all frames as arrays."""
    rows = [_part_report(newton, part, joints, uncertainties) for part in parts]
    columns = [np.concatenate(c) for c in zip(*rows, strict=True)]
    return BodyFit(continuous(columns[0]), *columns[1:])


def _part_report(
    newton: Newton, part: Part, joints: SkinModel, uncertainties: bool
) -> tuple[np.ndarray, ...]:
    model, state = newton.model, part.found.state
    world, _, places, rest = model.chain(state)
    n = places.shape[-1]
    cov = world.new_full((n, N_JOINTS, 3, 3), torch.nan)
    sigma = world.new_full((n, N_JOINTS), torch.nan)
    if uncertainties:
        spread = covariance(newton, part)
        sigma = point_sigma(newton, joints, state, spread)
        up = torch.cat([model.eye[None].expand_as(world[:1]), world[model.parent[1:]]]).permute(3, 0, 1, 2)
        own = spread[:, :ROTATIONS, :ROTATIONS].reshape(n, N_JOINTS, 3, N_JOINTS, 3)
        own = own.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
        cov = up.mT @ own @ up
    pose = bl.log(state.rotations).permute(2, 0, 1)
    trans = state.root + part.centre - rest[0]
    scale = state.log_scale.exp()
    weights = part.data.weights
    unit = (weights.sum(0) / newton.mass[:, None].mul(weights > 0).sum(0).clamp_min(1e-12)).clamp_min(1e-30)
    noise, shared = (part.found.noise / unit).sqrt(), part.found.shared.sqrt() / unit.sqrt()
    betas, expression = state.coefs[: model.betas].T, state.coefs[model.betas :].T
    places = (places + part.centre).permute(2, 0, 1)
    arrays = (pose, betas, expression, trans.T, scale, places, cov, sigma, noise, shared)
    return tuple(a.float().cpu().numpy() for a in arrays)


def covariance(newton: Newton, part: Part) -> Tensor:
    """(B, D, D) of the increments about world axes, root (and coefficients, where they were solved for), from each
    frame's own data and prior, without help from neighbours, whose errors may be alike."""
    H, _ = newton.information(part.data, part.found)
    floor = torch.full_like(H[0, 0], _UNSEEN)
    floor[:3] = UNSEEN_RAD**-2
    floor[ROTATIONS : ROTATIONS + 3] = UNSEEN_M**-2
    L, _ = torch.linalg.cholesky_ex(H + torch.diag(floor))
    return torch.cholesky_inverse(L)


def spread(newton: Newton, part: Part) -> ArrowFactor:
    """The inverse of `covariance`, factored, of points that are no plain places in space."""
    H, _, _ = newton.pieces(part.data, part.found)
    floor = torch.full_like(H.rest[0, 0], _UNSEEN)
    floor[:3] = UNSEEN_RAD**-2
    floor[REST : REST + 3] = UNSEEN_M**-2
    return ArrowFactor(H, torch.zeros_like(H.rest[:, 0, 0]), floor)


def point_sigma(newton: Newton, points: SkinModel, state: State, spread: Tensor | ArrowFactor) -> Tensor:
    """(B, Q) one sigma of the 3D distance of points, metres, from a covariance of `covariance`, or from `spread`."""
    o = newton.options
    posed = points.pose(state)
    J = jacobian(points, posed, points.coef_motion(posed) if o.shape else None, o.scale)
    rows = J.flatten(1, 2)
    if isinstance(spread, ArrowFactor):
        variance = spread.variance(rows)
    else:
        # One product a frame: one for each point would take ten times as long.
        variance = ((rows @ spread) * rows).sum(-1)
    return variance.reshape(*J.shape[:2], 3).sum(-1).clamp_min(0).sqrt()
