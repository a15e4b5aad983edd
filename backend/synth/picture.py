"""From a scene to a picture: draw, shade, put in front of a background, develop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.synth import backdrop, raster, room, shade
from backend.synth.light import Light, made_up
from backend.synth.mesh import Mesh
from backend.synth.rays import Lights, Pinhole
from backend.synth.scene import Placed
from backend.synth.view import View

_SHADOW_SIDE = 224


@dataclass(eq=False)
class Drawn:
    """Buffers of one picture, two samples a pixel and side; see `raster`."""

    sx: np.ndarray
    """(n,) column of each vertex, samples."""
    sy: np.ndarray
    """(n,) row of each vertex, samples."""
    w: np.ndarray
    """(n,) reciprocal depth of each vertex, 0 where it is too near."""
    wbuf: np.ndarray
    """(2 S, 2 S) reciprocal depth of what is seen."""
    ids: np.ndarray
    """(2 S, 2 S) the triangle that is seen, -1 for none."""
    x: np.ndarray
    """(n, 3) all vertices, camera space."""
    normals: np.ndarray
    """(n, 3) theirs, camera space."""
    faces: np.ndarray
    """(T, 3) int32 vertices of each triangle."""
    owner: np.ndarray
    """(T,) mesh of each triangle."""
    persons: np.ndarray
    """(T,) person of each triangle, -1 for things."""


def draw_meshes(meshes: list[Mesh], view: View) -> Drawn:
    """Draw all meshes as `view` sees them."""
    side = 2 * view.side
    wbuf, ids = np.zeros((side, side), np.float32), np.full((side, side), -1, np.int32)
    x = view.to_camera(np.concatenate([m.x for m in meshes]))
    sx, sy, w = (np.zeros(len(x), np.float32) for _ in range(3))
    raster.project(
        x, np.float32(2 * view.f), np.float32(side / 2 + 0.5), np.float32(side / 2 + 0.5), sx, sy, w
    )
    first = np.cumsum([0] + [len(m.x) for m in meshes])
    faces = np.concatenate([m.faces + np.int32(n) for m, n in zip(meshes, first, strict=False)])
    counts = [len(m.faces) for m in meshes]
    starts = np.cumsum([0, *counts])
    # Near things first: what they hide costs nothing.
    for i in np.argsort([np.linalg.norm(m.x[len(m.x) // 2] - view.centre) for m in meshes]):
        part = faces[starts[i] : starts[i + 1]]
        raster.draw_triangles(sx, sy, w, part, int(starts[i]), int(meshes[i].closed), wbuf, ids)
    owner = np.repeat(np.arange(len(meshes), dtype=np.int32), counts)
    persons = np.repeat(np.array([m.owner for m in meshes], np.int32), counts)
    normals = np.zeros_like(x)
    raster.vertex_normals(x, faces, normals)
    return Drawn(sx, sy, w, wbuf, ids, x, normals, faces, owner, persons)


def in_sight(main: Placed, drawn: Drawn, black: np.ndarray) -> np.ndarray:
    """(V,) bool: vertices of `main`, the person whose body was drawn first, that are seen. `black`: (S, S) bool,
    pixels outside the picture."""
    n, d = len(main.x), drawn
    out = np.empty(n, bool)
    raster.seen(d.sx[:n], d.sy[:n], d.w[:n], d.x[:n], d.normals[:n], main.reach, d.persons, main.meshes[0].owner,
                d.wbuf, d.ids, black, out)  # fmt: skip
    return out


def shadow_map(meshes: list[Mesh], sun: np.ndarray, middle: np.ndarray, reach: float):
    """Depth (n, n) from the sun over `reach` metres about `middle`, and the (3, 4) map from the world to it."""
    n = _SHADOW_SIDE
    z = -sun
    x = np.cross(z, [0.0, 1.0, 0.001])
    x /= np.linalg.norm(x)
    axes = np.stack([x, np.cross(z, x), z])
    scale = n / (2 * reach)
    view = np.zeros((3, 4))
    view[:2, :3] = axes[:2] * scale
    view[:2, 3] = n / 2 - axes[:2] @ middle * scale
    # Greater is nearer to the sun.
    view[2, :3], view[2, 3] = -axes[2], axes[2] @ middle
    depth = np.full((n, n), -1e9, np.float32)
    M = view.astype(np.float32)
    for m in meshes:
        if m.casts:
            p = m.x @ M[:, :3].T + M[:, 3]
            raster.draw_depth(*np.ascontiguousarray(p.T), m.faces, int(m.closed), depth)
    return depth, view


def paint(rng, world, meshes: list[Mesh], drawn: Drawn, view: View, middle, reach, place) -> np.ndarray:
    """(S, S, 3) float32 linear light. `place`: "photo", "panorama", "plain", or a `room.Room`."""
    S, R = view.side, np.ascontiguousarray(view.R.T)
    need = np.empty((S, S), bool)
    raster.gaps(drawn.ids, need)
    back, light = _background(rng, world, view, place)
    shadow, to_sun = shadow_map(meshes, light.sun, middle, reach)
    contact = _contact(meshes)
    seed = int(rng.integers(1 << 20))
    lights = Lights(light.sh, light.sun, light.sun_rgb, light.rim, light.rim_rgb, shadow, to_sun, float(light.soft),
                    seed)  # fmt: skip
    camera = Pinhole(view.f, S / 2, R, view.centre)
    if not isinstance(place, str):
        room.paint(place, camera, lights, contact, need, back)
    elif place != "plain" or rng.random() < 0.5:
        room.catch_shadow(camera, lights, contact, need, back)
    seen, samples = shade.Samples(drawn.ids, drawn.wbuf), Pinhole(2 * view.f, S + 0.5, R, view.centre)
    shade.shade(seen, _surfaces(meshes, drawn), _objects(meshes), samples, lights, back)
    return back


def _background(rng, world, view: View, place) -> tuple[np.ndarray, Light]:
    """What stands behind the people, (S, S, 3) linear light, black where a room is painted later; and the light that
    goes with it."""
    S = view.side
    if not isinstance(place, str):
        return np.zeros((S, S, 3), np.float32), made_up(rng, place.indoors, place.surfaces[2, 4:7])
    if place == "panorama":
        directions = view.rays() @ view.R.astype(np.float32)
        back, light = backdrop.panorama(rng, world.panoramas, directions)
        return backdrop.sharpened(rng, back, world.photos), light
    if place == "photo":
        back = backdrop.photo(rng, world.photos, S)
    else:
        back = backdrop.made_up(rng, S, world.split)
    light = made_up(rng, rng.random() < 0.5, back[S // 2 :].mean((0, 1)))
    _suit_light(rng, light, back)
    return back, light


def _contact(meshes: list[Mesh]) -> np.ndarray:
    """(96, 96) what stands or lies on the ground, blurred; see `room.splat`."""
    contact = np.zeros((96, 96), np.float32)
    for m in meshes:
        if m.casts:
            room.splat(m.x, contact)
    return backdrop.cv2.blur(contact, (5, 5))


def _surfaces(meshes: list[Mesh], drawn: Drawn) -> shade.Surfaces:
    canon = np.concatenate([m.canon for m in meshes])
    eyes = np.concatenate([m.eyes if m.eyes is not None else np.zeros(len(m.x), np.uint8) for m in meshes])
    return shade.Surfaces(drawn.x, drawn.normals, canon, eyes, drawn.faces, drawn.owner)


def _objects(meshes: list[Mesh]) -> shade.Objects:
    kinds = np.array([m.kind for m in meshes], np.int32)
    layers = np.array([m.layer for m in meshes], np.int32)
    return shade.Objects(kinds, layers, np.stack([m.row for m in meshes]))


def _suit_light(rng, light: Light, back: np.ndarray) -> None:
    """Colour and strength of a made-up light after the picture that the person is put into, in place."""
    mean = back.mean((0, 1)) + 0.02
    colour = (mean / mean.mean()) ** rng.uniform(0.3, 1.0)
    strength = float(mean.mean()) / 0.25 * np.exp(rng.normal(0, 0.35))
    for a in (light.sh, light.sun_rgb, light.rim_rgb):
        a *= colour * strength
