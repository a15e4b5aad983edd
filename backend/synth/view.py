"""The crop camera: where it stands, what it looks at, what lies beyond the picture's edge.

As at inference: the camera of a square crop looks at the middle of the person's box, its up is the picture's up,
its principal point is (side / 2, side / 2), and beyond the picture's edge everything is black.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.synth.raster import bounds


@dataclass(frozen=True)
class Framing:
    """How the person's box lies in the picture."""

    fill: tuple[float, float] = (0.75, 1.0)
    """Usual span of its longer side, in sides of the picture."""
    over: tuple[float, float] = (1.0, 1.25)
    """Span of the rest."""
    often: float = 0.75
    """Share of the usual."""
    shift: float = 0.1
    """Most that its middle is off, in longer sides."""
    roll: float = 8.0
    """Standard deviation, degrees, cut at 20."""
    any_roll: float = 0.1
    """Share that is rolled anyhow."""
    cut: float = 0.15
    """Share of people partly outside the picture, of whom only the inside is framed."""
    whole: bool = False
    """Those are framed whole."""


FRAMINGS = {
    "crop": Framing(),
    # For a training that cuts its own crops out: room around the person, upright as pictures are.
    "wide": Framing((0.5, 0.6), (0.6, 0.66), 0.9, 0.03, 3.0, 0.0, 0.15, True),
}


@dataclass(frozen=True, eq=False)
class View:
    """A camera that looks at a person."""

    R: np.ndarray
    """(3, 3) world -> camera."""
    centre: np.ndarray
    """(3,) the camera in the world, metres."""
    f: float
    """Focal length, pixels."""
    side: int
    """Of the picture, pixels."""
    edges: np.ndarray
    """(k, 3) camera space: a ray is in the picture where its product with every row is >= 0."""

    @property
    def K(self) -> np.ndarray:
        return np.array([[self.f, 0, self.side / 2], [0, self.f, self.side / 2], [0, 0, 1.0]])

    def to_camera(self, x: np.ndarray) -> np.ndarray:
        """World places (..., 3) -> camera space, float32."""
        # The camera's place is taken off first, as float32 would lose it among large numbers.
        return (x - self.centre.astype(np.float32)) @ self.R.T.astype(np.float32)

    def rays(self) -> np.ndarray:
        """(side, side, 3) float32 camera-space directions of the pixels, z = 1."""
        u = ((np.arange(self.side) - self.side / 2) / self.f).astype(np.float32)
        out = np.ones((self.side, self.side, 3), np.float32)
        out[..., 0], out[..., 1] = u[None], u[:, None]
        return out

    def black(self) -> np.ndarray:
        """(side, side) bool: outside the picture that the crop was cut from."""
        if not len(self.edges):
            return np.zeros((self.side, self.side), bool)
        return (self.rays() @ self.edges.T.astype(np.float32) < 0).any(-1)


def look(centre: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(3, 3) world -> camera (x right, y down, z forward) from `centre` towards `at`, upright in the world."""
    z = at - centre
    z = z / np.linalg.norm(z)
    x = np.cross(z, [0.0, 1.0, 0.0])
    x = x / max(np.linalg.norm(x), 1e-6)
    return np.stack([x, np.cross(z, x), z])


def aim(R: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """Turn a camera `R` so that its direction `ray` (camera space) becomes its axis; its x stays level to it."""
    z = R.T @ ray
    z = z / np.linalg.norm(z)
    x = np.cross(-R[1], z)
    x = -x / np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def choose(rng: np.random.Generator, x: np.ndarray, side: int, ground: bool, how: Framing) -> View:
    """A random view of the person whose surface is `x` (n, 3), world. `ground`: stay above y = 0."""
    low, high = bounds(x)
    middle = (low + high) / 2
    extent = float(np.linalg.norm(high - low)) * 0.85
    focal = np.exp(rng.uniform(np.log(20), np.log(100)))
    sensor = 36.0 if rng.random() < 0.5 else 24.0
    share = np.exp(rng.uniform(np.log(0.3), np.log(1.1)))
    distance = float(np.clip(focal / sensor * extent / share, 0.75 * extent + 0.4, 30))
    up = rng.normal(4, 11) if rng.random() < 0.72 else rng.uniform(-30, 45)
    up = np.deg2rad(np.clip(up, -30, 60))
    if ground:
        lowest = np.arcsin(np.clip((0.12 - middle[1]) / distance, -1, 1))
        up = max(up, lowest)
    centre = middle + distance * np.array([0, np.sin(up), np.cos(up)])
    R = look(centre, middle)
    edges = np.zeros((0, 3))
    low, high = _box(R, centre, x)
    if rng.random() < how.cut:
        inside = _cut(rng, low, high)
        edges = inside[2]
        if not how.whole:
            low, high = inside[:2]
    elif rng.random() < 0.12:
        edges = _edge(int(rng.integers(4)), low, high, -rng.uniform(0.0, 0.2))
    edges = edges @ R
    size = high - low
    ray = np.append((low + high) / 2 + rng.uniform(-how.shift, how.shift, 2) * size.max(), 1.0)
    R = aim(R, ray)
    # The box as the turned camera sees it: corners' rays.
    corners = np.array(
        [[low[0], low[1], 1], [high[0], low[1], 1], [low[0], high[1], 1], [high[0], high[1], 1.0]]
    )
    seen = corners @ (R @ look(centre, middle).T).T
    seen = seen[:, :2] / seen[:, 2:]
    longest = np.ptp(seen, axis=0).max()
    fill = rng.uniform(*(how.fill if rng.random() < how.often else how.over))
    f = fill * side / longest
    upright = rng.random() >= how.any_roll
    roll = np.deg2rad(np.clip(rng.normal(0, how.roll), -20, 20) if upright else rng.uniform(-180, 180))
    c, s = np.cos(roll), np.sin(roll)
    R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ R
    return View(R, centre, float(f), side, edges @ R.T)


def _box(R, centre, x) -> tuple[np.ndarray, np.ndarray]:
    p = x @ R.T.astype(np.float32) - (R @ centre).astype(np.float32)
    p /= np.maximum(p[:, 2:], np.float32(0.05))
    low, high = bounds(p)
    return low[:2], high[:2]


def _edge(which: int, low, high, inside: float) -> np.ndarray:
    """(1, 3) the picture's left, right, top or bottom edge, `inside` (share of the box) within the box."""
    axis, far = which // 2, which % 2
    size = high[axis] - low[axis]
    at = high[axis] - inside * size if far else low[axis] + inside * size
    n = np.zeros(3)
    n[axis], n[2] = (-1, at) if far else (1, -at)
    return n[None]


def _cut(rng, low, high) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A person partly outside the picture: the box of what is left, and the edge (kept black in most cases)."""
    which = int(rng.choice(4, p=[0.15, 0.15, 0.12, 0.58]))
    inside = rng.uniform(0.12, 0.62) if which == 3 else rng.uniform(0.1, 0.45)
    edges = _edge(which, low, high, inside)
    low, high = low.copy(), high.copy()
    axis = which // 2
    size = high[axis] - low[axis]
    if which % 2:
        high[axis] -= inside * size
    else:
        low[axis] += inside * size
    return low, high, edges if rng.random() < 0.65 else np.zeros((0, 3))


def in_front(x: np.ndarray, person: np.ndarray, seen_from: View) -> bool:
    """Whether the thing `x` (n, 3) is nearer to the camera than the middle of the person's vertices (n, 3)."""
    depth = lambda p: float(np.median((p - seen_from.centre) @ seen_from.R[2]))  # noqa: E731
    return depth(x) < depth(person[::20])
