"""Sheets: footage with the points that were found in it, and beside it the same points in space, seen from three sides.

One card for a picture, a contact sheet for several, and a movie for a movie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from backend.body.pointsets import PointSet
from backend.draw.views import GROUND, INK, LEGEND, PAPER, Shown, Views, dot_radius, draw_points, legend, text
from backend.files.whole import write_aside
from backend.stills.results import Found
from blender_addon.shared.frames import Frame

MOST = 12
"""Pictures on a sheet."""
MOST_NAMES = 30
"""Names are written beside the points of a set that has so many or fewer."""
STILL_SUFFIXES, MOVIE_SUFFIX = (".png", ".jpg", ".jpeg"), ".mp4"
_ALONE = 960, 640
"""Pixels of the longer side of a single picture: at most, and at least."""
_SMALL = 560, 440
"""Pixels of a picture among others, at most: width, height."""
_ASPECT = 1.5
"""Width by height that a contact sheet comes near to."""
_HEAD = 30
"""Pixels of the line above a card."""
_GAP = 10
"""Pixels between cards."""
_BOX = (110, 170, 255)
"""Colour of the boxes around people."""
_DIM = 0.85
"""How much of the footage's brightness is left, so that the dots stand out."""


def chosen(found: Sequence[Found], most: int = MOST) -> list[Found]:
    """Pictures for a sheet: evenly spread over those with people, or over those without if there are no others."""
    for rows in ([f for f in found if f.camera and len(f)], [f for f in found if f.camera]):
        if rows:
            picks = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)
            return [rows[i] for i in picks]
    return []


def draw_sheet(
    cards: Iterable[tuple[np.ndarray, Found]], points: PointSet, title: str, alone: bool = True
) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB, a card for each (picture, what was found in it), None without any; `title` stands below
    them. Pictures are taken one after the other, and drawn large if there is only one: `alone`."""
    drawn = [card(image, found, points, alone) for image, found in cards]
    if not drawn:
        return None
    widest = max(d.shape[1] for d in drawn)
    area = sum((d.shape[0] + _GAP) * (d.shape[1] + _GAP) for d in drawn)
    sheet = _in_rows(drawn, max(widest, int(np.sqrt(_ASPECT * area))))
    foot = legend(sheet.shape[1])
    if sheet.shape[1] > 900:
        text(foot, title, (sheet.shape[1] - 9 * len(title) - 12, 22), 0.45, INK)
    return np.concatenate([sheet, foot])


def _in_rows(cards: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Cards side by side, left to right and then down, no row wider than `most` pixels."""
    rows: list[list[np.ndarray]] = [[]]
    for picture in cards:
        if rows[-1] and sum(d.shape[1] + _GAP for d in rows[-1]) + picture.shape[1] > most:
            rows.append([])
        rows[-1].append(picture)
    width = max(sum(d.shape[1] + _GAP for d in row) - _GAP for row in rows)
    height = sum(max(d.shape[0] for d in row) + _GAP for row in rows) - _GAP
    sheet = np.zeros((height, width, 3), np.uint8)
    y = 0
    for row in rows:
        x = 0
        for picture in row:
            h, w = picture.shape[:2]
            sheet[y : y + h, x : x + w] = picture
            x += w + _GAP
        y += max(d.shape[0] for d in row) + _GAP
    return sheet


def card(image: np.ndarray, found: Found, points: PointSet, alone: bool = True) -> np.ndarray:
    """One picture (H, W, 3) with its points, the three views beside it, the name above."""
    height, width = image.shape[:2]
    places = found.points3d.reshape(-1, 3)
    if alone:
        scale = picture_scale(width, height)
        tall = max(round(height * scale), 560)
    else:
        scale, tall = min(_SMALL[0] / width, _SMALL[1] / height), _SMALL[1]
    picture = paint_picture(image, found, points, scale, names=alone)
    views = Views(places, Views.width_for(places, tall, round(0.6 * tall), max(round(1.1 * tall), 960)), tall)
    above = (tall - picture.shape[0]) // 2
    below = tall - picture.shape[0] - above
    picture = cv2.copyMakeBorder(picture, above, below, 0, _GAP, cv2.BORDER_CONSTANT, value=GROUND)
    body = np.concatenate([picture, views.draw(shown(found), points.edges)], 1)
    head = np.zeros((_HEAD, body.shape[1], 3), np.uint8)
    head[:] = GROUND
    text(head, _short(found.name, body.shape[1] // 10), (12, 20), 0.5, PAPER)
    return np.concatenate([head, body])


def picture_scale(width: int, height: int) -> float:
    """How much larger than the file a picture that stands alone is drawn."""
    return float(np.clip(1.0, _ALONE[1] / max(width, height), _ALONE[0] / max(width, height)))


def shown(found: Found) -> list[Shown]:
    """The people of a picture, with numbers if there are several."""
    return [
        Shown(found.points3d[i], found.uncertainty[i], str(i + 1) if len(found) > 1 else "")
        for i in range(len(found))
    ]


def paint_picture(
    image: np.ndarray, found: Found, points: PointSet, scale: float, names: bool = True
) -> np.ndarray:
    """The picture, `scale` times its size, with boxes, edges, dots and the points' names."""
    height, width = (max(1, round(v * scale)) for v in image.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = (cv2.resize(image, (width, height), interpolation=how) * _DIM).astype(np.uint8)
    # Pixel centres stay pixel centres.
    uv = (found.points2d + 0.5) * scale - 0.5
    people = [(uv[i], -found.points3d[i, :, 2], found.uncertainty[i]) for i in range(len(found))]
    for x, y, w, h in found.boxes * scale:
        corners = [tuple(round(float(v)) for v in xy) for xy in ((x, y), (x + w, y + h))]
        cv2.rectangle(canvas, *corners, _BOX, 1, cv2.LINE_AA)
    draw_points(canvas, people, points.edges, _radius(found, len(points), scale, height))
    marks = [(max(x + 6, 6), max(y + 20, 20)) for x, y, *_ in found.boxes * scale] if len(found) > 1 else []
    if names and len(points) <= MOST_NAMES and len(found) <= 2:
        _write_names(canvas, people, points, [(x, y - 14, x + 12, y) for x, y in marks])
    for k, place in enumerate(marks):
        text(canvas, str(k + 1), place, 0.6, PAPER)
    if not len(found):
        text(canvas, "nobody found", (12, height - 14), 0.55, PAPER)
    return canvas


def _radius(found: Found, count: int, scale: float, height: int) -> float:
    """For the nearest person, whose dots are farthest apart."""
    depths = [float(np.median(z[np.isfinite(z)])) for z in found.points3d[..., 2] if np.isfinite(z).any()]
    if not depths or found.camera is None:
        return 1.0
    return dot_radius(count, scale * found.camera.K[0, 0] / max(min(depths), 0.1), height)


def _write_names(canvas: np.ndarray, people: Sequence[tuple], points: PointSet, taken: list[tuple]) -> None:
    """Names beside the dots, away from the person's middle, where there is room; others are left out.

    `taken`: rectangles (left, top, right, bottom) that have no room.
    """
    size = 0.38
    for uv, *_ in people:
        known = np.isfinite(uv).all(-1)
        taken += [(x - 4, y - 4, x + 4, y + 4) for x, y in uv[known]]
    for uv, *_ in people:
        known = np.flatnonzero(np.isfinite(uv).all(-1))
        middle = uv[known].mean(0) if len(known) else np.zeros(2)
        for i in known:
            words = points.labels[i].replace("_", " ")
            (w, h), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
            x, y = uv[i]
            right, left = (x + 8, y + h / 2), (x - w - 8, y + h / 2)
            sides = [left, right] if x < middle[0] else [right, left]
            for at in (*sides, (x - w / 2, y - 9), (x - w / 2, y + h + 9)):
                area = (at[0] - 1, at[1] - h - 1, at[0] + w + 1, at[1] + 2)
                inside = (
                    area[0] >= 0 and area[1] >= 0 and area[2] < canvas.shape[1] and area[3] < canvas.shape[0]
                )
                if inside and not any(_overlap(area, other) for other in taken):
                    taken.append(area)
                    text(canvas, words, at, size, PAPER)
                    break


def _overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _short(words: str, most: int) -> str:
    return words if len(words) <= most else f"...{words[3 - most :]}"


def save_picture(path: Path, image: np.ndarray) -> None:
    """`image` (H, W, 3) uint8 RGB as .png or .jpg. Raises JobError("cannot_write")."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
    _, data = cv2.imencode(path.suffix.lower(), image[..., ::-1], quality)
    write_aside(path, lambda out: out.write(data.tobytes()))


class SheetPainter:
    """Paints what was found in each frame of a movie, all in one scale, for `backend.draw.movie.write_overlay`.

    `found`: by frame index; `width` + `side` by `height`: pixels of the painted frame.
    """

    def __init__(self, found: dict[int, Found], points: PointSet, width: int, height: int) -> None:
        self.found, self.points = found, points
        self.scale = picture_scale(width, height)
        self.size = round(width * self.scale), round(height * self.scale)
        self.height = (max(self.size[1], 480) + LEGEND + 1) // 2 * 2
        self.width = (self.size[0] + _GAP) // 2 * 2
        places = np.concatenate([*(f.points3d.reshape(-1, 3) for f in found.values()), np.zeros((0, 3))])
        tall = self.height - LEGEND
        self.side = Views.width_for(places, tall, round(0.6 * tall), 960) // 2 * 2
        self.views = Views(places, self.side, tall)
        self.foot = legend(self.width + self.side)

    def paint(self, frame: Frame) -> np.ndarray:
        """(height, width + side, 3) uint8 RGB."""
        canvas = np.zeros((self.height, self.width + self.side, 3), np.uint8)
        canvas[:] = GROUND
        found = self.found.get(frame.index)
        if found is not None:
            picture = paint_picture(frame.image, found, self.points, self.scale, names=False)
            canvas[: picture.shape[0], : self.size[0]] = picture[:, : self.width]
            canvas[: self.height - LEGEND, self.width :] = self.views.draw(shown(found), self.points.edges)
        canvas[-LEGEND:] = self.foot
        return canvas
