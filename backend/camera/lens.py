"""The camera's geometry: lens distortion both ways, the turn towards a box, default intrinsics, linear light.

Points on the *normalised plane* are (x/z, y/z) in camera axes (x right, y down, z forward), without units.
Everything works on tensors of any device and of float32 or float64. Source: docs/nlf.md 2 and the
OpenCV camera model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backend.camera.matrices import applied, inverse
from backend.camera.pinhole import DEFAULT_FOV_DEG, Camera

GAMMA = 2.2
"""Power between the values of a picture and linear light (plain power, not the sRGB curve)."""
FISHEYE = 4
COUNTS = (FISHEYE, 5, 8, 12)
"""Lengths of a coefficient vector: fisheye k1-k4, or OpenCV's k1 k2 p1 p2 k3 [k4 k5 k6 [s1 s2 s3 s4]]."""
_NEAR = 1e-6


def default_intrinsics(height: int, width: int, fov_deg: float = DEFAULT_FOV_DEG) -> Tensor:
    """(3, 3) float64, pixels: the larger side spans `fov_deg` degrees, principal point ((W-1)/2, (H-1)/2)."""
    return torch.from_numpy(Camera.from_fov(width, height, fov_deg).K)


def linear_light(images: Tensor) -> Tensor:
    """Pictures (uint8, uint16, or floats in 0..1) of any shape -> float32 linear light (v / v_max)^2.2.

    Never in place. Do it once: the reference's detecting entry points do it twice (docs/nlf.md 14.13).
    """
    full = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(images.dtype)
    if full is None:
        if not images.is_floating_point():
            raise ValueError(f"A picture must be uint8, uint16 or floating point, not {images.dtype}.")
        full = 1.0
    if images.dtype == torch.uint8:
        # A byte has 256 values: looking them up is several times as fast, and the same to the last bit.
        table = (torch.arange(256, dtype=torch.float32, device=images.device) / full).pow(GAMMA)
        return table.index_select(0, images.flatten().int()).view(images.shape)
    return (images.to(torch.float32) / full).pow(GAMMA)


def look_at(forward: Tensor, up: Tensor) -> Tensor:
    """Rotation (..., 3, 3) into a camera that looks along `forward` (..., 3) with `up` (..., 3) upwards.

    Rows: right, down, forward; the vectors need no unit length. Where the two are parallel, `right` is taken
    level in the original camera's x-z plane as in the reference, and (1, 0, 0) where that fails too (the
    reference returns NaN there); a zero `forward` counts as the optical axis.
    """
    forward, up = torch.broadcast_tensors(forward, up)
    z = _unit(forward, forward.new_tensor([0.0, 0.0, 1.0]))
    level = torch.stack([z[..., 2], torch.zeros_like(z[..., 0]), -z[..., 0]], -1)
    level = _unit(level, forward.new_tensor([1.0, 0.0, 0.0]))
    # (1, 0, 0) is square to z only up to the 1e-6 of `_unit`.
    level = _unit(level - (level * z).sum(-1, keepdim=True) * z, level)
    x = _unit(torch.linalg.cross(z, up), level, _NEAR * torch.linalg.vector_norm(up, dim=-1, keepdim=True))
    return torch.stack([x, torch.linalg.cross(z, x), z], -2)


def _unit(v: Tensor, otherwise: Tensor, least: Tensor | float = _NEAR) -> Tensor:
    """`v` (..., 3) at length one; `otherwise` where it is no longer than `least`."""
    length = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    long = length > least
    return torch.where(long, v / torch.where(long, length, torch.ones_like(length)), otherwise)


def lens_coefficients(coeffs: Tensor | None) -> Tensor | None:
    """The same coefficients (..., k), or None if there is no distortion. ValueError for another k than COUNTS."""
    if coeffs is None or coeffs.numel() == 0:
        return None
    if coeffs.shape[-1] not in COUNTS:
        raise ValueError(
            f"Lens distortion has 5, 8 or 12 coefficients, or 4 for fisheye, not {coeffs.shape[-1]}."
        )
    return coeffs if bool(coeffs.any()) else None


def distort(points: Tensor, coeffs: Tensor | None) -> Tensor:
    """Where a lens puts points: normalised plane (..., N, 2) -> normalised plane; `coeffs` (..., k) or None."""
    coeffs = lens_coefficients(coeffs)
    if coeffs is None:
        return points
    if coeffs.shape[-1] == FISHEYE:
        r = torch.linalg.vector_norm(points, dim=-1, keepdim=True)
        theta = torch.atan(r)
        bent = theta * _fisheye_factor(theta, coeffs)
        # In the middle both radius and angle vanish; their ratio is one.
        return points * torch.where(r > 1e-8, bent / r.clamp_min(1e-8), torch.ones_like(r))
    radial, linear, shift = _brown(points, coeffs)
    return points * (radial + linear) + shift


def undistort(points: Tensor, coeffs: Tensor | None, iterations: int = 5) -> Tensor:
    """Inverse of `distort` by fixed-point iteration, as many steps as the reference takes by default.

    It converges for lenses whose distortion is moderate where the points are, as OpenCV's does.
    """
    coeffs = lens_coefficients(coeffs)
    if coeffs is None:
        return points
    if coeffs.shape[-1] == FISHEYE:
        bent = torch.linalg.vector_norm(points, dim=-1, keepdim=True)
        theta = bent
        for _ in range(iterations):
            theta = bent / _fisheye_factor(theta, coeffs)
        # At 90 degrees the plane ends.
        r = torch.tan(theta.clamp(0.0, torch.pi / 2 - 1e-4))
        return points * torch.where(bent > 1e-8, r / bent.clamp_min(1e-8), torch.ones_like(bent))
    straight = points
    for _ in range(iterations):
        radial, linear, shift = _brown(straight, coeffs)
        straight = (points - shift - straight * linear) / radial
    return straight


def _fisheye_factor(theta: Tensor, coeffs: Tensor) -> Tensor:
    """1 + k1 t^2 + k2 t^4 + k3 t^6 + k4 t^8 for angles (..., N, 1) in radians."""
    k1, k2, k3, k4 = (coeffs[..., None, i, None] for i in range(4))
    t2 = theta * theta
    return 1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))


def _brown(points: Tensor, coeffs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """OpenCV's model at undistorted points: points * (radial + linear) + shift, (..., N, 1), (..., N, 1), (..., N, 2).

    Grouped as the reference groups it: the results are equal to the last bit.
    """
    k = [coeffs[..., None, i, None] for i in range(coeffs.shape[-1])]
    k += [torch.zeros_like(k[0])] * (12 - len(k))
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = k
    x, y = points[..., :1], points[..., 1:]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    shift = torch.cat([r2 * (s2 * r2 + s1 + p2), r2 * (s4 * r2 + s3 + p1)], -1)
    return radial, 2 * (p2 * x + p1 * y), shift


def project(points: Tensor, K: Tensor, coeffs: Tensor | None = None) -> Tensor:
    """Camera space (..., P, 3), any unit of length -> pixels (..., P, 2) of a camera `K` (..., 3, 3) with a lens.

    Depths of less than a millionth are taken as a millionth, so that nothing is infinite; a point behind the
    camera has no picture, and the caller sees that by its depth.
    """
    return applied(K, distort(points[..., :2] / points[..., 2:].clamp_min(_NEAR), coeffs))[..., :2]


def unproject(pixels: Tensor, K: Tensor, coeffs: Tensor | None = None) -> Tensor:
    """Pixels (..., P, 2) -> rays (..., P, 3) in camera space with z = 1, the lens taken out."""
    flat = undistort(applied(inverse(K), pixels)[..., :2], coeffs)
    return torch.cat([flat, torch.ones_like(flat[..., :1])], -1)
