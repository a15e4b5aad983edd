"""Our own localizer field: BlazePose's trunk, a lifter of its landmarks, a neck that looks everywhere, NLF's head.

The lifter guesses where a body that has these landmarks is in space. NLF's heat maps look for each point in the
picture, first where the guess lies, and say by how much its place in space is another one. The neck joins BlazePose's
coarse map, its landmarks and the guess, as tokens that attend to one another, and adds the fine maps. A second, smaller
BlazePose, the branch, can look beside the trunk: it learns, while the trunk's landmarks stay what they are on real
people. Canonical space: the rest T-pose of our body, metres. Made for a CPU; trained by `backend.train`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.localizers.field.lifter import Lifter, describe
from backend.localizers.field.pointnetwork import PointNetwork
from backend.localizers.field.trunk import LANDMARKS, channels, read_landmarks
from backend.localizers.nlf.crop_model import mirror
from backend.nets.absolute import Borders, Reconstruction, reconstruct
from backend.nets.graph import Graph
from backend.nets.heatmaps import CHANNELS, HeadOutput, decode_heatmaps, to_pixels

SIDE = 256
COARSE = 8
"""Cells of the coarse map along one side."""
BORDERS = Borders(solve=0.25, mix=0.25)
"""In strides of 32 px; our maps' cells are half or a quarter of that."""
CONFIDENT_M = 0.3
"""Points less certain than this (one sigma) have no say in the distance of a person."""
CHUNK = 512
FOCUS_CELLS = 1.5
"""Spread, in cells, of the first look around the guess; it is learnt."""
REACH_M = 1.1
"""Range of what the heat maps add to the guess, metres, half of it to either side."""
BRANCH = "branch."
"""Before the names of the branch's maps and weights."""
_COARSE = ("stride32", "encoder32", BRANCH + "stride32", BRANCH + "encoder32")
_PYRAMID = ("pyramid", BRANCH + "pyramid")
_FINE = tuple(b + tap for b in ("", BRANCH) for tap in ("stride8", "stride16", "encoder16"))


@dataclass(frozen=True)
class FieldConfig:
    """Sizes and parts of the network; a weights file keeps them."""

    trunk: str = "full"
    """The BlazePose that the network begins with, full or heavy."""
    width: int = 256
    """Channels of the neck and of its map."""
    layers: int = 3
    """Layers of attention."""
    blocks: int = 2
    """Blocks that work on the fine map."""
    grid: int = 16
    """Cells of the heat maps along one side, 16 or 32."""
    frequencies: int = 192
    """Fourier features of the point network."""
    hidden: int = 384
    """Width of the point network's layers."""
    code: int = 256
    """Width of the lifter's code."""
    lift: int = 768
    """Width of the lifter."""
    branch: str = ""
    """The second BlazePose, full or heavy; empty for none."""
    metric: str = "told"
    """Whether the lifter is given BlazePose's metric guess: told, untold, or both, of which the mean is taken."""

    def taps(self) -> tuple[str, ...]:
        """What the trunk is asked for. Where there is a branch, it gives the fine maps."""
        fine = () if self.branch else self._fine()
        deep = ("encoder16", "encoder32") if self.trunk == "heavy" else ()
        return ("stride32", *fine, *deep, "landmarks", "world", "heatmap", "score")

    def branch_taps(self) -> tuple[str, ...]:
        """What the branch is asked for."""
        deep = ("encoder16", "encoder32") if self.branch == "heavy" else ()
        return ("stride32", *self._fine(), *deep) if self.branch else ()

    def _fine(self) -> tuple[str, ...]:
        return ("stride16", "pyramid") if self.grid == 16 else ("stride8", "stride16", "pyramid")


class Attention(nn.Module):
    """One layer of a transformer, normalised first."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, c) -> the same."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class Block(nn.Module):
    """Depthwise 3x3, then an MLP on each cell; residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, c) -> the same."""
        # Depthwise convolutions gain nothing from 16 bits, and their gradients lose much time.
        with torch.autocast(x.device.type, enabled=x.is_cuda):
            y = self.spatial(x.float().permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.mlp(self.norm(y))


class Neck(nn.Module):
    """Maps and landmarks of the trunk -> one map (B, grid * grid, c)."""

    def __init__(self, config: FieldConfig, trunk: Graph, branch: Graph | None) -> None:
        super().__init__()
        self.config = config
        c = config.width
        width = {tap: channels(trunk, tap) for tap in config.taps() if tap in trunk.taps}
        if branch is not None:
            width |= {BRANCH + tap: channels(branch, tap) for tap in config.branch_taps()}
        self.coarse = nn.Linear(sum(width.get(tap, 0) for tap in _COARSE), c)
        self.place = nn.Parameter(torch.randn(COARSE * COARSE, c) * 0.02)
        self.landmark = nn.Sequential(nn.Linear(8, c), nn.GELU(), nn.Linear(c, c))
        self.which = nn.Parameter(torch.randn(LANDMARKS, c) * 0.02)
        self.from_code = nn.Linear(config.code, c)
        self.to_code = nn.Linear(c, config.code)
        # The lifter's word counts as it is until the picture is known to say more.
        nn.init.zeros_(self.to_code.weight)
        nn.init.zeros_(self.to_code.bias)
        self.attention = nn.Sequential(*(Attention(c) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(c)
        fine = sum(width.get(tap, 0) for tap in _PYRAMID) * (64 // config.grid) ** 2
        self.fine = nn.Linear(fine + sum(width.get(tap, 0) for tap in _FINE), c)
        self.blocks = nn.Sequential(*(Block(c) for _ in range(config.blocks)))
        self.out_norm = nn.LayerNorm(c)
        self.out = nn.Linear(c, c)

    def forward(self, maps: dict[str, Tensor], landmarks: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """`maps`: what the trunk gave; `landmarks`: (B, 39, 8); `code`: (B, k) of the lifter -> the map, and the code
        in the light of the picture."""
        grid = self.config.grid
        coarse = torch.cat([maps[tap] for tap in _COARSE if tap in maps], 1)
        cells = self.coarse(_cells(coarse).flatten(1, 2)) + self.place
        known = self.landmark(landmarks) + self.which
        tokens = self.norm(self.attention(torch.cat([cells, known, self.from_code(code)[:, None]], 1)))
        fine = [_patches(maps[tap], 64 // grid) for tap in _PYRAMID if tap in maps]
        fine += [_cells(_to_grid(maps[tap], grid)) for tap in _FINE if tap in maps]
        cells = tokens[:, : COARSE * COARSE].unflatten(1, (COARSE, COARSE)).permute(0, 3, 1, 2)
        x = self.blocks(self.fine(torch.cat(fine, -1)) + _cells(_to_grid(cells, grid)))
        features = F.silu(self.out(self.out_norm(x))).flatten(1, 2)
        return features, code + self.to_code(tokens[:, -1])


def _cells(x: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, h, w, c), which is how the trunk's maps lie in memory."""
    return x.permute(0, 2, 3, 1)


def _patches(x: Tensor, size: int) -> Tensor:
    """(B, c, h, w) -> (B, h / size, w / size, size * size * c): the cells of each patch side by side."""
    y = _cells(x).unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3)
    return y.flatten(3)


def _to_grid(x: Tensor, grid: int) -> Tensor:
    if x.shape[-1] == grid:
        return x
    return F.interpolate(x, (grid, grid), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class FieldPoints:
    """P canonical points pushed through the point network."""

    points: Tensor
    """(P, 3) metres."""
    weights: Tensor
    """(P, 10, c) of the heat maps."""
    biases: Tensor
    """(P, 10) of the heat maps."""
    places: Tensor
    """(P, 3, code + 1) of the guess."""

    def __len__(self) -> int:
        return len(self.points)

    def parts(self) -> list[FieldPoints]:
        """All points, so many at a time as memory holds."""
        return [self.rows(i, min(i + CHUNK, len(self))) for i in range(0, max(len(self), 1), CHUNK)]

    def rows(self, start: int, stop: int) -> FieldPoints:
        """Points start ... stop - 1."""
        return FieldPoints(*(t[start:stop] for t in (self.points, self.weights, self.biases, self.places)))


@dataclass(frozen=True)
class FieldFeatures:
    """What the network has seen of B crops."""

    cells: Tensor
    """(B, grid * grid, c), the map that points are looked for in."""
    code: Tensor
    """(B, k), the lifter's, in the light of the picture."""
    landmarks: Tensor
    """(B, 39, 8) as BlazePose sees them."""
    score: Tensor
    """(B,) 0..1, BlazePose's word that there is a person."""
    frame: Tensor
    """(B, 3): pixels per metre and the pixel (x, y) of the guess's origin, by which the guess is laid over the picture
    (weak perspective)."""

    def rows(self, which) -> FieldFeatures:
        """Some of the crops."""
        return FieldFeatures(
            self.cells[which], self.code[which], self.landmarks[which], self.score[which], self.frame[which]
        )


class FieldModel(nn.Module):
    """Trunk, lifter, neck, field and head. Inputs are crops (B, 3, 256, 256), RGB 0..1."""

    def __init__(self, config: FieldConfig, trunk: Graph, branch: Graph | None = None) -> None:
        super().__init__()
        self.config = config
        self.trunk = trunk
        self.branch = branch
        self.lifter = Lifter(config.code, config.lift)
        self.neck = Neck(config, trunk, branch)
        # The point network. It is called `field` in the tensors of weights files and in the stamp on what jobs have
        # kept (`kept.stamp`), so the name stays.
        self.field = PointNetwork(config.width, config.frequencies, config.hidden, config.code)
        self.register_buffer("marks", torch.zeros(33, 3))
        """Canonical places of BlazePose's 33 landmarks, metres."""
        self.focus = nn.Parameter(torch.tensor(math.log(0.5 / FOCUS_CELLS**2)))
        self.register_buffer("sigma", torch.tensor([1.0, 0.0]))
        """Calibration: sigma in metres = first number x what the head says + second number."""

    def describe(self) -> dict:
        """The configuration, for a file's metadata."""
        return asdict(self.config)

    def drop_sight(self) -> None:
        """Forget all that looks at pictures, 60 MB of weights: something else does that. Points are still answered."""
        self.trunk = self.branch = self.lifter = self.neck = None

    def look(self, images: Tensor, maps: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Trunk and branch: (B, 3, 256, 256) -> what `features` wants. `maps`: the trunk's, where it has looked."""
        maps = self.trunk(images, self.config.taps()) if maps is None else maps
        if self.branch is None:
            return maps
        return maps | {BRANCH + k: v for k, v in self.branch(images, self.config.branch_taps()).items()}

    def features(self, maps: dict[str, Tensor], apart: bool = False) -> FieldFeatures:
        """What the crops show, ready for points. `apart`: no gradient reaches the lifter, which learns of its own."""
        landmarks = read_landmarks(maps)
        seen = landmarks[:, :33]
        told = {"told": (True,), "untold": (False,), "both": (True, False)}[self.config.metric]
        codes = [
            self.lifter(describe(seen[..., :2], seen[..., 3], seen[..., 5:] if t else None)) for t in told
        ]
        code = torch.stack(codes).mean(0)
        cells, code = self.neck(maps, landmarks, code.detach() if apart else code)
        places = self.field.places(self.marks)
        places = places.detach() if apart else places
        frame = overlay(guess(places, code)[..., :2], (seen[..., :2] + 1) * (SIDE / 2), seen[..., 3])
        return FieldFeatures(cells, code, landmarks, maps["score"].detach().flatten(), frame)

    def push(self, points: Tensor, apart: bool = False) -> FieldPoints:
        """(P, 3) canonical points through the field, with gradients; `apart`: none for their places."""
        places = self.field.places(points)
        return FieldPoints(points, *self.field.maps(points), places.detach() if apart else places)

    @torch.no_grad()
    def prepare(self, points: Tensor) -> FieldPoints:
        """The same once and for all, any number of points."""
        parts = [self.push(p) for p in points.to(self.sigma.device, torch.float32).split(CHUNK)]
        names = ("points", "weights", "biases", "places")
        return FieldPoints(*(torch.cat([getattr(p, n) for p in parts]) for n in names))

    def heads(self, features: FieldFeatures, points: FieldPoints) -> HeadOutput:
        """Points in all crops."""
        parts = [self.read(features, some) for some in points.parts()]
        if len(parts) == 1:
            return parts[0]
        return HeadOutput(*(torch.cat([getattr(p, n) for p in parts], 1) for n in _PARTS))

    def read(self, features: FieldFeatures, points: FieldPoints) -> HeadOutput:
        """`heads` for so many points as memory holds at once."""
        grid = self.config.grid
        logits = F.linear(features.cells, points.weights.flatten(0, 1), points.biases.flatten())
        logits = logits.transpose(1, 2).float().unflatten(1, (-1, CHANNELS)).unflatten(-1, (grid, grid))
        place = guess(points.places, features.code)
        pixels = features.frame[:, None, :1] * place[..., :2] + features.frame[:, None, 1:]
        logits = torch.cat([logits[:, :, :2], logits[:, :, 2:] + self._prior(pixels)[:, :, None]], 2)
        uv, xyz, uncertainty = decode_heatmaps(logits)
        return HeadOutput(to_pixels(uv, SIDE, SIDE // grid), place + (xyz - 0.5) * REACH_M, uncertainty)

    def _prior(self, pixels: Tensor) -> Tensor:
        """(B, P, 2) pixels -> (B, P, grid, grid) logits: look first where the guess lies."""
        grid = self.config.grid
        stride = SIDE // grid
        cells = torch.arange(grid, device=pixels.device, dtype=pixels.dtype)
        away = ((pixels[..., None] - stride // 2) / stride - cells).square() * -self.focus.exp()
        return away[:, :, 1, :, None] + away[:, :, 0, None, :]

    def forward(self, images: Tensor, points: Tensor, mirrored: Tensor | None = None) -> HeadOutput:
        """Localize (P, 3) canonical points in all crops, with gradients; see `find`."""
        return self.find(self.features(self.look(images)), points, mirrored)

    def find(
        self, features: FieldFeatures, points: Tensor, mirrored: Tensor | None = None, apart: bool = False
    ) -> HeadOutput:
        """In crops that are `mirrored` (B,) the mirror images of the points are looked for: the left hand of a
        mirrored person was the right one."""
        if mirrored is None or not bool(mirrored.any()):
            return self.heads(features, self.push(points, apart))
        if bool(mirrored.all()):
            return self.heads(features, self.push(mirror(points), apart))
        pushed, P = self.push(torch.cat([points, mirror(points)]), apart), len(points)
        plain = self.heads(features.rows(~mirrored), pushed.rows(0, P))
        other = self.heads(features.rows(mirrored), pushed.rows(P, 2 * P))
        order = torch.cat([(~mirrored).nonzero()[:, 0], mirrored.nonzero()[:, 0]]).argsort()
        return HeadOutput(*(torch.cat([getattr(plain, n), getattr(other, n)])[order] for n in _PARTS))

    def absolute(self, relative: HeadOutput, K: Tensor, translation: Tensor | None = None) -> Reconstruction:
        """Places in the camera space of the crops, as at test time. `K`: (B, 3, 3); `translation`: as
        `reconstruct` takes it."""
        sure = self.calibrated(relative.uncertainty) < CONFIDENT_M
        # Somebody of whom nothing is certain is still somewhere.
        sure = sure | ~sure.any(1, keepdim=True)
        return reconstruct(
            relative.coords2d, relative.coords3d_rel, K, SIDE, sure, borders=BORDERS, translation=translation
        )

    def calibrated(self, uncertainty: Tensor) -> Tensor:
        """What the head says -> one sigma of the place's length of error, metres."""
        return self.sigma[0] * uncertainty + self.sigma[1]


def guess(places: Tensor, code: Tensor) -> Tensor:
    """(P, 3, k + 1) and (B, k) -> (B, P, 3) metres."""
    flat = F.linear(code, places[..., :-1].flatten(0, 1), places[..., -1].flatten())
    return flat.float().unflatten(-1, (-1, 3))


def overlay(places: Tensor, pixels: Tensor, weight: Tensor) -> Tensor:
    """Scale and shift (B, 3) that lay `places` (B, n, 2) metres over `pixels` (B, n, 2), by `weight` (B, n)."""
    w = (weight + 0.05)[..., None]
    w = w / w.sum(1, keepdim=True)
    x, y = (w * places).sum(1, keepdim=True), (w * pixels).sum(1, keepdim=True)
    a, b = places - x, pixels - y
    scale = (w * a * b).sum((1, 2)) / (w * a.square()).sum((1, 2)).clamp_min(1e-4)
    scale = scale.clamp_min(1.0)[:, None]
    return torch.cat([scale, y[:, 0] - scale * x[:, 0]], -1)


_PARTS = ("coords2d", "coords3d_rel", "uncertainty")
