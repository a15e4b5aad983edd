"""One shape for all frames of a track, solved together with every frame's pose.

A frame's equations with the pose eliminated (Schur complement) say which coefficients it wants and how surely; summed
over the frames they give the shape that all of them agree on, and each pose then takes the step that is best for it.
A round makes one matrix of each frame; for points whose matrix comes in pieces (`arrow`).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backend.fit import track
from backend.fit.solver.arrow import ArrowFactor
from backend.fit.solver.newton import Newton

DAMPING = 1e-6
"""Added to the matrices, relative to their diagonal."""


def settled(newton: Newton, part: track.Part, evidence: float) -> tuple[Tensor, track.Part]:
    """One round: the shape (nc, 1) and the frames a step nearer to it. `newton` solves for the shape; `evidence`: all
    frames count as so many at most."""
    newton.breathe()
    model, hold, state = newton.model, newton.options.coef_precision, part.found.state
    H, g, look = newton.pieces(part.data, part.found)
    factor = ArrowFactor(H, torch.full_like(state.root[0], DAMPING))
    schur, wanted, half = factor.last(g, model.coefs)
    eye = torch.eye(model.coefs, dtype=torch.float64, device=schur.device)
    own = state.coefs.T.double()
    # The prior on the shape counts once, not in every frame.
    schur = schur.double() - hold * eye
    wanted = wanted.double() + hold * own + (schur @ own[..., None])[..., 0]
    use = track.shows(part.data) & torch.isfinite(schur).all((1, 2)) & torch.isfinite(wanted).all(1)
    S, right = schur[use].sum(0), wanted[use].sum(0)
    prior = hold * max(int(use.sum()) / evidence, 1.0)
    coefs = torch.linalg.solve((S + S.T) / 2 + prior * eye, right).to(state.coefs)[:, None].clamp(-5, 5)
    delta = factor.given(g, half, (coefs - state.coefs).T)
    moved = newton.step(state, look, delta).shaped(coefs)
    return coefs, replace(part, found=replace(part.found, state=moved, look=None))


__all__ = ["settled"]
