# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the frame in which people are chosen over a 3D view: picture, outlines, numbers, bar of frames, button.

Only for a Blender with a window: what is drawn where is decided in `pictureplane` and `choosing`.
"""

from dataclasses import dataclass

import blf
import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from mathutils.geometry import tessellate_polygon

from ..geometry.pictureplane import Layout, Rect, bar_place, free_area, layout, middle, ribbon, shrunken
from ..languages.words import iface
from ..link.choosing import PeopleChooser

GROUND = (0.09, 0.09, 0.09, 1.0)
TEXT, FAINT = (0.93, 0.93, 0.93, 1.0), (0.66, 0.66, 0.66, 1.0)
CHOSEN, OTHER, RIM = (1.0, 0.62, 0.16, 1.0), (1.0, 1.0, 1.0, 0.9), (0.0, 0.0, 0.0, 0.75)
FILL, HOVER = 0.3, 0.14
DISABLED, BUTTON, BUTTON_OVER = (0.2, 0.2, 0.2, 1.0), (0.28, 0.45, 0.7, 1.0), (0.36, 0.54, 0.8, 1.0)
MOST_PIXELS = 1600
"""Larger side of the picture as it is given to the graphics card."""
_LINEAR = np.array(
    [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.arange(256) / 255], np.float32
)
"""Linear light of 8-bit sRGB: a 3D view's drawing surface makes it sRGB again, which plain pictures are not spared."""
_BADGE = 11.0
_CORNERS = 28


@dataclass(frozen=True, eq=False)
class _Shape:
    """What is drawn of somebody; pixels of the picture."""

    outline: np.ndarray
    """(k, 2) corners of a closed polygon."""
    triangles: list
    """Triples of rows of `outline` whose triangles fill it."""
    middle: np.ndarray
    """(2,) its innermost place."""
    reach: float
    """How far that is from the outline."""


def main_region(area: bpy.types.Area) -> bpy.types.Region:
    """The region that shows the scene; the largest of a quad view."""
    return max((r for r in area.regions if r.type == "WINDOW"), key=lambda r: r.width * r.height)


def layout_of(area: bpy.types.Area, size: tuple[int, int], scale: float) -> Layout:
    """Where everything lies in the main region of `area`, in that region's coordinates."""
    region = main_region(area)
    others = [
        Rect(r.x, r.y, r.width, r.height)
        for r in area.regions
        if r.type not in ("WINDOW", "HUD") and r.width > 1 and r.height > 1
    ]
    free = free_area(Rect(region.x, region.y, region.width, region.height), others)
    return layout(Rect(free.x - region.x, free.y - region.y, free.w, free.h), size, scale)


class PeopleOverlay:
    """Draws `chooser` into the area of this address until `remove`. `over_button`: the pointer is on the button."""

    def __init__(self, chooser: PeopleChooser, area: int) -> None:
        self.over_button = False
        self._chooser, self._area = chooser, area
        self._texture: gpu.types.GPUTexture | None = None
        self._drawn: np.ndarray | None = None
        self._shapes: dict[int, _Shape] = {}
        self._handle = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")

    def remove(self) -> None:
        """Draw no more; may be called twice."""
        if self._handle is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
            self._handle = self._texture = None

    def _draw(self) -> None:
        context = bpy.context
        area, chooser = context.area, self._chooser
        if area is None or area.as_pointer() != self._area or context.region != main_region(area):
            return
        scale, size = context.preferences.system.ui_scale, (chooser.clip.width, chooser.clip.height)
        self.paint((context.region.width, context.region.height), layout_of(area, size, scale), scale)

    def paint(self, size: tuple[int, int], where: Layout, scale: float) -> None:
        """Draw everything into the region of `size` (width, height) pixels that is bound."""
        chooser = self._chooser
        gpu.state.depth_test_set("NONE")
        _fill(Rect(0, 0, *size), GROUND)
        if chooser.picture is not None:
            self._draw_picture(where.plane.rect)
        if chooser.ready and chooser.shown == chooser.frame:
            self._draw_people(where, scale)
        if chooser.drawing is not None:
            x0, y0, x1, y1 = chooser.drawing
            corners = where.plane.to_region(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
            if np.ptp(corners, axis=0).min() > 1:
                _line(corners, 5 * scale, RIM)
                _line(corners, 3 * scale, CHOSEN)
        _text(iface("Click the people to follow"), where.title, 19 * scale, TEXT)
        _text(chooser.says(iface), where.line, 14 * scale, TEXT if chooser.chosen else FAINT)
        self._draw_foot(where, scale)
        gpu.state.blend_set("NONE")

    def _draw_picture(self, rect: Rect) -> None:
        if self._drawn is not self._chooser.picture:
            self._drawn = self._chooser.picture
            self._texture = _texture(self._drawn)
        shader = gpu.shader.from_builtin("IMAGE")
        corners = ((0, 1), (1, 1), (1, 0), (0, 0))
        content = {"pos": _fan(_corners(rect)), "texCoord": _fan(corners)}
        batch = batch_for_shader(shader, "TRIS", content)
        shader.bind()
        shader.uniform_sampler("image", self._texture)
        batch.draw(shader)

    def _draw_people(self, where: Layout, scale: float) -> None:
        chooser = self._chooser
        # Whoever is chosen or pointed at is drawn last, over the others.
        order = sorted(range(len(chooser.outlines)), key=lambda i: (i in chooser.chosen, i == chooser.hover))
        for i in order:
            points = where.plane.to_region(chooser.outlines[i])
            chosen, over = i in chooser.chosen, i == chooser.hover
            colour = CHOSEN if chosen else OTHER
            if chosen or over:
                strength = (FILL if chosen else 0.0) + (HOVER if over else 0.0)
                _triangles(points, self._shape(i).triangles, (*colour[:3], strength))
            width = (3.0 if chosen or over else 1.8) * scale
            _line(points, width + 2 * scale, RIM)
            _line(points, width, colour)
        for i in order:
            shape = self._shape(i)
            place = where.plane.to_region(shape.middle)
            if shape.reach * where.plane.zoom < 1.4 * _BADGE * scale:
                # It would hide somebody so small.
                points = where.plane.to_region(shape.outline)
                place = points[points[:, 1].argmax()] + (0, 1.5 * _BADGE * scale)
            _badge(place, str(i + 1), i in chooser.chosen, where, scale)

    def _shape(self, i: int) -> "_Shape":
        """What is drawn of somebody, made once."""
        outline = self._chooser.outlines[i]
        kept = self._shapes.get(i)
        if kept is None or kept.outline is not outline:
            triangles = tessellate_polygon([[(float(x), float(y), 0.0) for x, y in outline]])
            kept = self._shapes[i] = _Shape(outline, triangles, *middle(outline))
        return kept

    def _draw_foot(self, where: Layout, scale: float) -> None:
        chooser, bar, button = self._chooser, where.bar, where.button
        middle = bar.y + bar.h / 2
        if chooser.count and chooser.count > 1:
            _fill(Rect(bar.x, middle - 2 * scale, bar.w, 4 * scale), (0.35, 0.35, 0.35, 1.0))
            x = bar_place(bar, chooser.frame, chooser.count)
            _fill(Rect(x - 4 * scale, bar.y, 8 * scale, bar.h), TEXT)
        words = iface(
            "Frame {frame} of {count}    Arrow keys: other frame    A: everybody    Esc: back",
            frame=chooser.frame,
            count=chooser.count or "?",
        )
        _text(words, (bar.x, bar.y - 26 * scale), 13 * scale, FAINT)
        active = bool(chooser.chosen)
        colour = (BUTTON_OVER if self.over_button else BUTTON) if active else DISABLED
        _fill(button, colour)
        label = iface("Start (Enter)")
        blf.size(0, 14 * scale)
        width, height = blf.dimensions(0, label)
        place = (button.x + (button.w - width) / 2, button.y + (button.h - height) / 2)
        _text(label, place, 14 * scale, TEXT if active else FAINT)


def _texture(image: np.ndarray) -> gpu.types.GPUTexture:
    small = shrunken(image, MOST_PIXELS)
    h, w = small.shape[:2]
    values = np.ones((h, w, 4), np.float32)
    values[..., :3] = _LINEAR[small]
    return gpu.types.GPUTexture(
        (w, h), format="RGBA16F", data=gpu.types.Buffer("FLOAT", h * w * 4, values.ravel())
    )


def _corners(rect: Rect) -> tuple[tuple[float, float], ...]:
    """Lower left first, then round."""
    return (
        (rect.x, rect.y),
        (rect.x + rect.w, rect.y),
        (rect.x + rect.w, rect.y + rect.h),
        (rect.x, rect.y + rect.h),
    )


def _fill(rect: Rect, colour: tuple[float, ...]) -> None:
    _paint(_fan(_corners(rect)), colour)


def _triangles(points: np.ndarray, triangles: list, colour: tuple[float, ...]) -> None:
    _paint([tuple(points[k]) for triangle in triangles for k in triangle], colour)


def _fan(corners) -> list:
    """The triangles of a convex polygon, one corner after the other."""
    return [corners[k] for i in range(1, len(corners) - 1) for k in (0, i, i + 1)]


def _paint(corners, colour: tuple[float, ...]) -> None:
    """Triangles in one colour."""
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    batch = batch_for_shader(shader, "TRIS", {"pos": [(x, y, 0.0) for x, y in corners]})
    shader.bind()
    shader.uniform_float("color", colour)
    # Text leaves it switched off.
    gpu.state.blend_set("ALPHA")
    batch.draw(shader)


def _line(points: np.ndarray, width: float, colour: tuple[float, ...]) -> None:
    """A closed line with soft edges; Blender's own thick lines show every joint."""
    places, covered = ribbon(points, width)
    colours = np.broadcast_to(np.array(colour, np.float32), (len(places), 4)).copy()
    colours[:, 3] *= covered
    shader = gpu.shader.from_builtin("SMOOTH_COLOR")
    corners = np.concatenate([places, np.zeros((len(places), 1))], 1).astype(np.float32)
    batch = batch_for_shader(shader, "TRIS", {"pos": corners, "color": colours})
    shader.bind()
    gpu.state.blend_set("ALPHA")
    batch.draw(shader)


def _badge(place: np.ndarray, number: str, chosen: bool, where: Layout, scale: float) -> None:
    """A number on a disc, inside the picture."""
    radius, rect = _BADGE * scale, where.plane.rect
    x = float(np.clip(place[0], rect.x + radius, rect.x + rect.w - radius))
    y = float(np.clip(place[1], rect.y + radius, rect.y + rect.h - radius))
    turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1) * radius + (x, y)
    _paint(_fan(ring), CHOSEN if chosen else OTHER)
    _line(ring, 1.5 * scale, RIM)
    blf.size(0, 14 * scale)
    width, height = blf.dimensions(0, number)
    _text(number, (x - width / 2, y - height / 2), 14 * scale, (0.05, 0.05, 0.05, 1.0))


def _text(words: str, place: tuple[float, float], size: float, colour: tuple[float, ...]) -> None:
    blf.size(0, size)
    blf.color(0, *colour)
    blf.position(0, place[0], place[1], 0)
    blf.draw(0, words)
