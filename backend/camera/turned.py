"""Square crops of one person, seen by a virtual camera that is turned towards the person.

Turning the camera (a homography of the picture) instead of cutting a square out makes a person at the edge of
a wide picture look as if in the middle, so that a network's 3D axes are those of a known camera: `Crop.R`.
"""

from __future__ import annotations

import cv2
import numpy as np

from backend.camera.pinhole import Camera, Crop, Roi


def turned_camera(camera: Camera, roi: Roi, side: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics (3, 3) and rotation (3, 3) of the camera that looks at `roi`; x_crop = R @ x_camera.

    The centre of the region falls on pixel (side / 2, side / 2), as in MediaPipe's crops. The turn is the
    smallest one that brings the ray into the middle, then a roll by the region's angle. The focal length
    keeps the region's area: a picture plane is stretched by 1/cos and 1/cos^2 away from its middle.
    """
    x, y, z = np.linalg.solve(camera.K, np.array([*np.asarray(roi.center, float), 1.0]))
    length = np.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    # Rodrigues' formula for the rotation from (x, y, z) to (0, 0, 1); z > 0, so nothing divides by zero.
    cross = np.array([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]])
    turn = np.eye(3) + cross + cross @ cross / (1 + z)
    c, s = np.cos(roi.angle), np.sin(roi.angle)
    R = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) @ turn
    f = np.sqrt(camera.K[0, 0] * camera.K[1, 1]) * side / roi.size * z**-1.5
    return np.array([[f, 0, side / 2], [0, f, side / 2], [0, 0, 1.0]]), R


def extract(image: np.ndarray, camera: Camera, roi: Roi, side: int = 256) -> Crop:
    """The crop (side, side, 3) uint8 of `image` (H, W, 3) uint8 RGB. Black where the picture has nothing.

    Smooth when shrinking: the part of the picture that is needed is first averaged down by a whole number.
    ValueError for a picture of another shape or type.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"A picture must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}.")
    K, R = turned_camera(camera, roi, side)
    to_image = camera.K @ R.T @ np.linalg.inv(K)
    part, to_part = _shrunken_part(image, to_image, side)
    if part is None:
        return Crop(np.zeros((side, side, 3), np.uint8), K, R)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpPerspective(part, to_part @ to_image, (side, side), flags=flags)
    behind = _behind(to_image, side)
    if behind is not None:
        out[behind] = 0
    return Crop(out, K, R)


def _shrunken_part(image, to_image, side) -> tuple[np.ndarray | None, np.ndarray]:
    """The part of the picture that the crop sees, averaged down, and the (3, 3) map from picture to part."""
    height, width = image.shape[:2]
    edge = np.linspace(0, side, 9)
    zero, full = np.zeros(9), np.full(9, float(side))
    border = np.stack([np.r_[edge, edge, zero, full], np.r_[zero, full, edge, edge], np.ones(36)])
    x, y, w = to_image @ border
    # A crop that sees past the picture plane's horizon may hold anything.
    if (w <= 1e-6).any():
        low, high = np.zeros(2), np.array([width, height], float)
    else:
        low = np.clip([(x / w).min() - 2, (y / w).min() - 2], 0, [width, height])
        high = np.clip([(x / w).max() + 3, (y / w).max() + 3], 0, [width, height])
    x0, y0 = np.floor(low).astype(int)
    x1, y1 = np.ceil(high).astype(int)
    if x1 <= x0 or y1 <= y0:
        return None, np.eye(3)
    # How many picture pixels one crop pixel covers in the middle.
    c = to_image @ np.array([side / 2, side / 2, 1.0])
    jacobian = (to_image[:2, :2] - np.outer(c[:2] / c[2], to_image[2, :2])) / c[2]
    k = max(1, int(np.sqrt(abs(np.linalg.det(jacobian))) + 0.25))
    part = image[y0:y1, x0:x1]
    if k > 1:
        # Whole blocks only, the remainder of up to k-1 pixels padded, so that every block has k*k pixels.
        h, w = -(-part.shape[0] // k), -(-part.shape[1] // k)
        pad = h * k - part.shape[0], w * k - part.shape[1]
        if any(pad):
            part = cv2.copyMakeBorder(part, 0, pad[0], 0, pad[1], cv2.BORDER_REPLICATE)
        part = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA)
    # Pixel i of the part is the mean of pixels x0 + k*i ... x0 + k*i + k-1: centre x0 + k*i + (k-1)/2.
    shift = (k - 1) / 2
    return part, np.array([[1 / k, 0, -(x0 + shift) / k], [0, 1 / k, -(y0 + shift) / k], [0, 0, 1.0]])


def _behind(to_image, side) -> np.ndarray | None:
    """Mask (side, side) of crop pixels that look behind the original camera, or None when there are none."""
    a, b, c = to_image[2]
    u = np.arange(side)
    w = a * u[None] + b * u[:, None] + c
    return w <= 1e-9 if (w <= 1e-9).any() else None


def crop_to_image(crop: Crop, camera: Camera, xy: np.ndarray) -> np.ndarray:
    """Pixels of the crop (..., 2) -> pixels of the original picture; NaN for rays behind its camera."""
    return _map(camera.K @ crop.R.T @ np.linalg.inv(crop.K), xy)


def image_to_crop(crop: Crop, camera: Camera, xy: np.ndarray) -> np.ndarray:
    """Pixels of the original picture (..., 2) -> pixels of the crop; NaN for rays behind its camera."""
    return _map(crop.K @ crop.R @ np.linalg.inv(camera.K), xy)


def _map(H: np.ndarray, xy: np.ndarray) -> np.ndarray:
    xy = np.asarray(xy, float)
    out = xy @ H[:, :2].T + H[:, 2]
    w = np.where(out[..., 2:] > 1e-9, out[..., 2:], np.nan)
    return out[..., :2] / w
