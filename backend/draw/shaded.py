"""People as lit, translucent bodies: green where they are sure, red where they are a guess; the nearer hides the
farther."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from backend.body.model import Body
from backend.draw.colours import colours
from backend.draw.eyes import Eye
from backend.draw.posed import Chunked, Poser
from backend.draw.raster import Corners, draw, facing
from backend.draw.reduced import reduced
from backend.records import TrackMotion

COVER = 0.68
"""How much of the footage a body hides."""
LIGHT = (np.array([-0.45, -0.65, -0.61]) / np.linalg.norm([-0.45, -0.65, -0.61])).astype(np.float32)
"""Towards the lamp, a unit vector in the view's own axes: from the viewer's upper left."""
_AMBIENT, _LAMP, _RIM = 0.30, 0.62, 0.35
"""Light from everywhere and from the lamp, and how much darker a surface is that is seen from its edge."""
_GLOSS, _SHARP = 0.22, 5
"""How bright the lamp's reflection is, and how often its cosine is squared: the more often, the smaller the spot."""
_MOST_PX = 160_000
"""Pixels that the bodies of one place are drawn with: larger ones are drawn coarser and then enlarged."""
_AIR = 2
"""Pixels around a body, for its soft edge."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom: pixels, the last two just outside."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """A chunk of B frames of one person, as one eye sees it."""

    xy: np.ndarray
    """(B, V, 2) pixels."""
    near: np.ndarray
    """(B, V)."""
    colour: np.ndarray
    """(B, V, 4), see `Corners`."""

    def corners(self, place: int) -> Corners:
        return Corners(self.xy[place], self.near[place], self.colour[place])


class Shaded:
    """Draws the `motions` of `body` as each of `eyes` sees them."""

    def __init__(self, body: Body, motions: Sequence[TrackMotion], eyes: Sequence[Eye]) -> None:
        mesh = reduced(body)
        # As numpy indexes.
        self._faces = mesh.faces.astype(np.intp)
        self._weights = body.weights[mesh.rows]
        self._poser = Poser(body.vertices_as_points(mesh.rows), body.to("cpu"), mesh.faces)
        self._eyes = list(eyes)
        self._chunks = Chunked(motions, self._chunk)

    def _chunk(self, motion: TrackMotion, start: int, end: int) -> list[_Seen]:
        points = self._poser.pose(motion, start, end)
        normals = self._poser.normals(points)
        sigma = motion.joint_uncertainty[start:end] @ self._weights.T
        paint = colours(sigma.ravel()).reshape(*sigma.shape, 3).astype(np.float32)
        seen = []
        for eye in self._eyes:
            xy, near, looks = eye.seen(points)
            seen.append(_Seen(xy, near, _lit(paint, eye.turned(normals), looks)))
        return seen

    def paint(self, canvases: Sequence[np.ndarray], people: Sequence[tuple[int, int]]) -> None:
        """Onto a canvas (H, W, 3) uint8 for each eye. `people`: who is there, as (number of the motion, its row)."""
        found = [self._chunks.of(number, row) for number, row in people]
        for e, canvas in enumerate(canvases):
            _draw_people(canvas, [chunk[e].corners(place) for chunk, place in found], self._faces)


def _lit(paint: np.ndarray, normals: np.ndarray, looks: np.ndarray) -> np.ndarray:
    """Colours (B, V, 3) in the light, times cover, and cover: (B, V, 4). `normals`, and the direction of the look
    `looks`: unit vectors, the view's own axes."""
    looks = np.broadcast_to(looks, normals.shape)
    away = np.einsum("bvk,bvk->bv", normals, looks)
    lamp = normals @ LIGHT
    # A lamp as wide as a window: its light reaches a little around the body.
    light = _AMBIENT + _LAMP * np.clip((lamp + 0.3) / 1.3, 0, 1)
    light *= 1 - _RIM * np.square(np.minimum(1 + away, 1))
    # The cosine to what lies in the middle between lamp and viewer, |LIGHT - looks| being its length.
    gloss = np.maximum((lamp - away) / np.sqrt(np.float32(2) - 2 * (looks @ LIGHT)), 0)
    for _ in range(_SHARP):
        gloss *= gloss
    lit = np.full((*paint.shape[:2], 4), 255 * COVER, np.float32)
    lit[..., :3] = (paint * light[..., None] + (255 * _GLOSS) * gloss[..., None]) * COVER
    return lit


def _draw_people(canvas: np.ndarray, people: Sequence[Corners], faces: np.ndarray) -> None:
    height, width = canvas.shape[:2]
    shown = []
    for corners in people:
        numbers, area = facing(corners, faces)
        if box := _box(corners, faces[numbers], width, height):
            shown.append((box, corners, faces[numbers], float(area.sum()) / 2))
    for box, members in _places([box for box, *_ in shown]):
        parts = [shown[i] for i in members]
        # Bodies that reach out of the picture cost only what lies in it.
        size = min(sum(area for *_, area in parts), (box[2] - box[0]) * (box[3] - box[1]))
        coarse = max(1, int(np.ceil(np.sqrt(size / _MOST_PX))))
        tile = _tile([(corners, inside) for _, corners, inside, _ in parts], box, coarse)
        _lay_over(canvas[box[1] : box[3], box[0] : box[2]], tile)


def _box(corners: Corners, faces: np.ndarray, width: int, height: int) -> Box | None:
    """Of the triangles in the picture, with air around them; None if none is."""
    if not len(faces):
        return None
    x, y = (corners.xy[:, k].take(faces) for k in range(2))
    left, right = (int(v) for v in np.clip([x.min() - _AIR, x.max() + _AIR + 1], 0, width))
    top, bottom = (int(v) for v in np.clip([y.min() - _AIR, y.max() + _AIR + 1], 0, height))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _places(boxes: Sequence[Box]) -> Iterator[tuple[Box, list[int]]]:
    """Boxes that overlap as one box around them, with the numbers of those in it."""
    places: list[tuple[Box, list[int]]] = [(box, [i]) for i, box in enumerate(boxes)]
    k = 0
    while k < len(places):
        a, members = places[k]
        for other in range(k + 1, len(places)):
            b, more = places[other]
            if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]:
                around = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
                places[k] = around, members + more
                del places[other]
                # The larger box may meet one that was passed before.
                k = -1
                break
        k += 1
    yield from places


def _tile(parts: Sequence[tuple[Corners, np.ndarray]], box: Box, coarse: int) -> np.ndarray:
    """The bodies in `box`, (h, w, 4) uint8: colour times cover, and cover. `coarse`: pixels of the picture that one
    drawn pixel is wide."""
    left, top, right, bottom = box
    width, height = -(-(right - left) // coarse), -(-(bottom - top) // coarse)
    moved = [corners.scaled(1 / coarse, left, top) for corners, _ in parts]
    offset = np.cumsum([0, *(len(m.xy) for m in moved)])
    together = Corners(*(np.concatenate([getattr(m, n) for m in moved]) for n in ("xy", "near", "colour")))
    faces = np.concatenate([inside + first for (_, inside), first in zip(parts, offset, strict=False)])
    place, colour = draw(together, faces, width, height)
    tile = np.zeros(height * width, np.uint32)
    tile[place] = colour.view(np.uint32)[:, 0]
    tile = tile.view(np.uint8).reshape(height, width, 4)
    tile = cv2.GaussianBlur(tile, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
    if coarse > 1:
        tile = cv2.resize(tile, (width * coarse, height * coarse), interpolation=cv2.INTER_LINEAR)
    return tile[: bottom - top, : right - left]


def _lay_over(canvas: np.ndarray, tile: np.ndarray) -> None:
    """`tile` (h, w, 4), colour times cover and cover, over `canvas` (h, w, 3), in place."""
    rest = cv2.bitwise_not(cv2.extractChannel(tile, 3))
    cv2.multiply(canvas, cv2.merge([rest] * 3), canvas, 1 / 255)
    cv2.add(canvas, cv2.cvtColor(tile, cv2.COLOR_RGBA2RGB), canvas)
