"""From what the model says of a batch to one number to make small, and figures to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backend.localizers.field.model import SIDE
from backend.nets.absolute import Borders, in_view, reconstruct
from backend.nets.heatmaps import BOX_SIZE_M, HeadOutput
from backend.nets.losses import Norm, beta_nll, center_relative, loss_with_2d, loss_with_3d, masked_mean
from backend.train.streams.batch import Batch

NORM = Norm(divide_by_sqrt=True, fix_uncert_factor=True)
BORDERS = Borders(solve=0.25, mix=0.2)
"""Strides of 32 px; as `backend.localizers.field.model`, a little more generous to what is moved onto its ray."""
_TRUSTED_M = 0.3


@dataclass(frozen=True)
class Weights:
    """Weights of the parts of the loss."""

    stream: dict[str, float]
    """Of each stream, by name, in the total."""
    direct2d: float = 0.5
    """Of the heat map's own pixels."""


@dataclass(frozen=True)
class Schedule:
    """Steps at which the reconstruction changes."""

    full: int = 500
    """Step from which the reconstruction is NLF's full one."""
    trusted: int = 1000
    """Step from which uncertain points have no say in it."""


def batch_loss(
    out: HeadOutput,
    batch: Batch,
    step: int,
    mix: Tensor,
    direct2d: float = 0.5,
    schedule: Schedule = Schedule(),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of one stream's batch, and figures. `mix`: (B, 1, 1) shares of 3D in the reconstruction, 0..1."""
    # What is not known may hold anything, NaN too; times a gradient of zero it would still be NaN.
    known2d = torch.where(batch.valid2d[..., None], batch.points2d, out.coords2d.detach())
    known3d = torch.where(batch.valid3d[..., None], batch.points3d, out.coords3d_rel.detach())
    batch = replace(batch, points2d=known2d, points3d=known3d)
    visible = batch.valid2d & in_view(batch.points2d, SIDE, 0.0)
    trusted = visible if step < schedule.trusted else visible & (out.uncertainty.detach() < _TRUSTED_M)
    enough = trusted.sum(1, keepdim=True) >= 6
    placed = reconstruct(
        out.coords2d, out.coords3d_rel, batch.K, SIDE, torch.where(enough, trusted, visible),
        mix=mix, borders=BORDERS, weak_perspective=step < schedule.full, judge_by_3d=False,
    ).points3d  # fmt: skip
    loss, figures = _where_3d(out, batch, placed, step, schedule)
    more, pixels = _where_2d(out, batch, placed)
    unit = (batch.points2d - out.coords2d) * (BOX_SIZE_M / SIDE)
    direct = masked_mean(beta_nll(unit, out.uncertainty, NORM), visible)
    loss = loss + more + direct2d * direct
    with torch.no_grad():
        error = torch.linalg.vector_norm(batch.points2d - out.coords2d, dim=-1)
        figures |= {
            "pixels": masked_mean(error, visible),
            "sigma": out.uncertainty.mean(),
            "direct2d": direct,
        }
    return loss, figures | {"loss": loss.detach(), "reprojected": pixels.detach()}


def _where_3d(out: HeadOutput, batch: Batch, placed: Tensor, step: int, schedule: Schedule):
    """Examples known in camera space, by NLF's loss; those known up to a translation by its relative part."""
    zero = out.uncertainty.sum() * 0
    loss, figures = zero, {}
    absolute = batch.absolute & batch.valid3d.any(1)
    root = torch.full((len(batch),), batch.root, device=placed.device)
    if batch.root >= 0:
        root = torch.where(batch.valid3d[:, batch.root], root, -1)
    share = absolute.float().mean()
    if bool(absolute.any()):
        a = absolute
        # The absolute term is learnt from when the reconstruction is NLF's own; the loss counts its own steps.
        counted = 10**9 if step >= 2 * schedule.full else 0
        found = loss_with_3d(
            batch.points3d[a],
            placed[a],
            out.uncertainty[a],
            batch.valid3d[a],
            root[a],
            batch.K[a],
            SIDE,
            counted,
            NORM,
        )
        loss = loss + share * found.total
        figures |= {"absolute": found.absolute.detach(), "in_picture": found.pixels.detach()}
    other = ~batch.absolute & batch.valid3d.any(1)
    difference = center_relative(
        torch.where(batch.valid3d[..., None], batch.points3d - out.coords3d_rel, 0.0), batch.valid3d, root
    )
    if bool(other.any()):
        part = masked_mean(beta_nll(difference[other], out.uncertainty[other], NORM), batch.valid3d[other])
        loss = loss + (1 - share) * part
    with torch.no_grad():
        mean = center_relative(difference, batch.valid3d, torch.full_like(root, -1))
        figures["pve_mm"] = 1000 * masked_mean(torch.linalg.vector_norm(mean, dim=-1), batch.valid3d)
    return loss, figures


def _where_2d(out: HeadOutput, batch: Batch, placed: Tensor) -> tuple[Tensor, Tensor]:
    """Examples known in the picture only: the projection of the place in space."""
    flat = ~batch.absolute
    if not bool(flat.any()):
        zero = out.uncertainty.sum() * 0
        return zero, zero
    loss = loss_with_2d(
        batch.points2d[flat],
        placed[flat],
        out.uncertainty[flat],
        batch.valid2d[flat],
        batch.K[flat],
        SIDE,
        NORM,
    )
    return loss * flat.float().mean(), loss
