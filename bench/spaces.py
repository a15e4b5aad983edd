"""How far from the true place is a place of our body that was mapped to another body's canonical volume?

    python -m bench.spaces [--bodies 3] [--body SMPLX_NEUTRAL.npz [--known ROWS.npy]] --json out.json

The other bodies are made from the open body, so that the truth is known, and then hidden: random shapes of which the
map knows half the components ("shape"); the same bent by random smooth fields, in another stance and with joints at
other places, as another body model would have ("model"). Their vertices are strewn over the surface anew, as many as
SMPL and SMPL-X have. With --body a user's SMPL-X file is laid on too: no truth, but distances of surfaces and joints;
`--known` gives the open body's vertex of each of the file's vertices (-1: none), for a file made from the same mesh.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backend.body.load import load_body
from backend.body.model import Body, CanonicalPoints
from backend.body.points import canonical_points
from backend.body.skeleton import JOINT, JOINT_NAMES, mirror_joints
from backend.body.surface import surface_of
from backend.volumes.cloud import cloud_of, skin_faces
from backend.volumes.map import VolumeMap, map_volumes
from backend.volumes.model import Shape, VolumeModel
from backend.volumes.shape import place
from backend.volumes.triangles import triangles_between
from backend.volumes.volume import MIRROR, CanonicalVolume, official_pose, volume_of_body
from bench.report import finish, parser

SURFACE, FINGERS, INSIDE = 1500, 300, 700
CLAIMED = {"mean": 8.0, "p95": 20.0}
"""Millimetres on bodies of other shapes, without the fingers."""
Field = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A kind of body."""

    vertices: int
    """How many the volume has."""
    faces: bool
    """Whether the volume has triangles."""
    joints: int
    """How many the volume names."""
    bend: tuple[tuple[float, float], ...] = ()
    """(rms, wavelength) of each field that bends the body, metres."""
    stance: float = 2.0
    """Degrees that joints are turned, one standard deviation."""
    misplaced: float = 0.0
    """Metres that the named joints lie off, one standard deviation."""


_BENT = {"bend": ((0.015, 1.9), (0.005, 0.6)), "stance": 4.0, "misplaced": 0.015}
CASES = {
    "shape, 6890 vertices": Case(6890, False, 22),
    "shape, 10475 with faces": Case(10475, True, 55),
    "model, 6890 vertices": Case(6890, False, 22, **_BENT),
    "model, 10475 with faces": Case(10475, True, 55, **_BENT),
}


@dataclass(frozen=True, eq=False)
class Target:
    """A made-up body."""

    volume: CanonicalVolume
    """What the map may see."""
    truth: Callable[[CanonicalPoints], np.ndarray]
    """Where P canonical points of the open body truly lie in it: (P, 3) metres."""


@dataclass(frozen=True, eq=False)
class Places:
    """P places at which errors are measured."""

    points: CanonicalPoints
    """With all shape directions."""
    inside: np.ndarray
    """(P,) bool, which lie inside the body."""
    region: np.ndarray
    """(P,) names of parts of the body."""

    def seen_by(self, body: Body) -> CanonicalPoints:
        """The points as `body`, which has fewer shape directions, knows them."""
        return replace(self.points, shapedirs=self.points.shapedirs[..., : body.n_betas])


def make_target(body: Body, case: Case, rng: np.random.Generator) -> Target:
    """A random body. `body`: the open body with all its shape directions."""
    model = VolumeModel(body)
    turns = rng.normal(0, np.deg2rad(case.stance), (55, 3))
    turns[[JOINT[n] for n in ("pelvis", "jaw", "left_eye_smplhf", "right_eye_smplhf")]] = 0
    betas = rng.uniform(-2, 2, body.n_betas)
    shape = Shape(official_pose() + turns, betas, np.ones(55), rng.normal(0, 0.05, 3)).symmetric()
    fields = [smooth_field(rng, rms, wave) for rms, wave in case.bend]

    def bent(x: np.ndarray) -> np.ndarray:
        for f in fields:
            x = x + f(x)
        return x

    v, joints = bent(model.vertices(shape)), bent(model.joint_transforms(shape)[1])
    off = rng.normal(0, case.misplaced, joints.shape)
    # Other models' fingers bend where ours do.
    off[25:] *= 0.2
    joints = joints + (off + off[mirror_joints()] * MIRROR) / 2
    faces = skin_faces(v, body.faces)
    vertices = strewn(v, faces, case.vertices, rng)
    triangles = triangles_between(v, faces, vertices) if case.faces else None
    named = {n: joints[JOINT[n]] for n in JOINT_NAMES[: case.joints]}
    return Target(
        CanonicalVolume("made-up", vertices, triangles, named),
        lambda points: bent(model.points(shape, points)),
    )


def smooth_field(rng: np.random.Generator, rms: float, wave: float) -> Field:
    """A symmetric random vector field: displacements (P, 3) of `rms` metres in waves of about `wave` metres."""
    k = rng.normal(size=(24, 3)) * 2 * np.pi / wave
    phase, a = rng.uniform(0, 2 * np.pi, 24), rng.normal(size=(24, 3))
    one = lambda x: np.cos(x @ k.T + phase) @ a  # noqa: E731
    # 24 waves of mean square 1/2 in three directions; the mean with the mirror image halves the square.
    return lambda x: (one(x) + one(x * MIRROR) * MIRROR) * (rms / np.sqrt(72))


def strewn(v: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 3) random places on the triangles, half by area, half as dense as the mesh's own vertices."""
    corners = v[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    face = rng.choice(len(faces), count, p=0.5 * area / area.sum() + 0.5 / len(faces))
    return np.einsum("pk,pkc->pc", rng.dirichlet([1, 1, 1], count), corners[face])


def make_places(body: Body, rng: np.random.Generator, few: float = 1.0) -> Places:
    """Random places on the skin (by area), on the fingers and inside the body; `few`: share of the usual number."""
    v = body.v_template.astype(np.float64)
    faces = skin_faces(v, body.faces)
    finger = faces[body.weights[faces[:, 0], 25:].sum(1) > 0.5]
    corners = v[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    rows = faces[rng.choice(len(faces), int(SURFACE * few), p=area / area.sum())]
    rows = np.concatenate([rows, finger[rng.integers(0, len(finger), int(FINGERS * few))]])
    on = np.einsum("pk,pkc->pc", rng.dirichlet([1, 1, 1], len(rows)), v[rows])
    surface, within = surface_of(body), np.zeros((0, 3))
    while len(within) < INSIDE * few:
        p = rng.uniform(v.min(0), v.max(0), (1000, 3))
        p = p[surface.inside(p, *surface.nearest(p))]
        within = np.concatenate([within, p])
    within = within[: int(INSIDE * few)]
    points = canonical_points(body, np.concatenate([on, within]))
    inside = np.arange(len(points)) >= len(on)
    return Places(points, inside, np.array([_region(j) for j in points.weights.argmax(1)]))


def _region(joint: int) -> str:
    name = JOINT_NAMES[joint]
    parts = {"hands": ("wrist",), "feet": ("ankle", "foot"), "head": ("head", "neck", "jaw", "eye"),
             "limbs": ("hip", "knee", "shoulder", "elbow")}  # fmt: skip
    if joint >= 25:
        return "fingers"
    return next((part for part, words in parts.items() if any(w in name for w in words)), "torso")


def methods(found: VolumeMap, volume: CanonicalVolume, places: Places) -> dict[str, np.ndarray]:
    """(P, 3) what each way of finding the places says: the map, skinning alone, and the nearest vertex of the other
    body after scaling and moving ours in the official pose (inside: the moved place itself)."""
    body, still = found.body, np.zeros_like(found.displacement)
    points = places.seen_by(body)
    moved = VolumeMap(body, place(body, cloud_of(volume)), still).to_volume(points)
    v = volume.vertices.astype(np.float64)
    on = ~places.inside
    nearest = [((v - p) ** 2).sum(1).argmin() for p in moved[on]]
    moved[on] = v[nearest]
    skinned = VolumeMap(body, found.shape, still).to_volume(points)
    return {"nearest": moved, "skinned": skinned, "map": found.to_volume(points)}


def summary(error: np.ndarray, places: Places) -> dict[str, dict[str, float]]:
    """Mean, 95 % and worst of `error` (P,) metres in millimetres, for parts of the body."""
    body = places.region != "fingers"
    groups = {"all but fingers": body, "surface": body & ~places.inside, "inside": body & places.inside}
    groups |= {r: places.region == r for r in ("torso", "limbs", "head", "hands", "feet", "fingers")}
    return {name: figures(1e3 * error[rows]) for name, rows in groups.items() if rows.any()}


def figures(mm: np.ndarray) -> dict[str, float]:
    """Mean, 95th percentile and worst."""
    values = {"mean": mm.mean(), "p95": np.percentile(mm, 95), "worst": mm.max()}
    return {k: round(float(v), 2) for k, v in values.items()}


def round_trip(found: VolumeMap, places: Places) -> dict[str, float]:
    """Millimetres between places and what comes back, between their images, and what both ways cost (processor
    time)."""
    points = places.seen_by(found.body)
    # Builds what later calls share.
    found.to_body(found.to_volume(points.take(slice(0, 2))))
    clock = time.process_time()
    there = found.to_volume(points)
    middle = time.process_time()
    back = found.to_body(there)
    thousands = len(points) / 1000
    cost = {
        "to_volume_ms_per_1000": 1e3 * (middle - clock) / thousands,
        "to_body_ms_per_1000": 1e3 * (time.process_time() - middle) / thousands,
    }
    mm = 1e3 * np.linalg.norm(back - points.positions, axis=1)
    image = 1e3 * np.linalg.norm(found.to_volume(canonical_points(found.body, back)) - there, axis=1)
    # Where skinning folds two places have one image, and the other one may come back.
    out = figures(mm) | {"over_half_mm_percent": round(100 * float((mm > 0.5).mean()), 2)}
    return out | {"image_worst": round(float(image.max()), 3)} | {k: round(v, 1) for k, v in cost.items()}


def run_case(name: str, bodies: int, body: Body, whole: Body, places: Places, seed: int) -> dict:
    """Figures of one kind of body over several random ones."""
    case = CASES[name]
    errors: dict[str, list[np.ndarray]] = {}
    fit, trips, seconds = [], [], []
    for i in range(bodies):
        rng = np.random.default_rng([seed, list(CASES).index(name), i])
        target = make_target(whole, case, rng)
        clock = time.process_time()
        found = map_volumes(body, target.volume)
        seconds.append(time.process_time() - clock)
        true = target.truth(places.points)
        for method, got in methods(found, target.volume, places).items():
            errors.setdefault(method, []).append(np.linalg.norm(got - true, axis=1))
        fit.append(found.figures)
        trips.append(round_trip(found, places))
    many = Places(places.points, np.tile(places.inside, bodies), np.tile(places.region, bodies))
    return {
        "bodies": bodies,
        "error_mm": {m: summary(np.concatenate(e), many) for m, e in errors.items()},
        "fit_mm": {k: round(float(np.mean([f[k] for f in fit])), 2) for k in fit[0]},
        "round_trip_mm": {k: max(t[k] for t in trips) for k in trips[0]},
        "map_s": round(float(np.mean(seconds)), 1),
    }


def run_file(path: Path, known: Path | None, body: Body, places: Places) -> dict:
    """Figures of a user's own body file."""
    other = load_body(path)
    volume = volume_of_body(other)
    found = map_volumes(body, volume)
    out = {
        "vertices": len(volume.vertices),
        "fit_mm": found.figures,
        "round_trip_mm": round_trip(found, places),
    }
    if known:
        rows = np.load(known, allow_pickle=False)
        skin = np.intersect1d(np.flatnonzero(rows >= 0), np.unique(skin_faces(other.v_template, other.faces)))
        points = body.vertices_as_points(rows[skin])
        region = np.array([_region(j) for j in points.weights.argmax(1)])
        on = Places(points, np.zeros(len(skin), bool), region)
        every = methods(found, volume, on).items()
        out["error_mm"] = {
            m: summary(np.linalg.norm(got - volume.vertices[skin], axis=1), on) for m, got in every
        }
    return out


def show(name: str, result: dict) -> None:
    """Print one case as a table: mean / 95 % / worst in millimetres."""
    print(f"\n{name}")
    found = result.get("error_mm", {})
    for part in next(iter(found.values()), {}):
        cells = (" / ".join(f"{f[part][k]:5.1f}" for k in ("mean", "p95", "worst")) for f in found.values())
        print(f"  {part:16s}", "   ".join(f"{m} {c}" for m, c in zip(found, cells, strict=True)))
    print("  fit mm        ", result["fit_mm"])
    print("  there and back", result["round_trip_mm"])


def main() -> None:
    """Print the table."""
    p = parser(__doc__)
    p.add_argument("--bodies", type=int, default=3, help="random bodies of each kind")
    p.add_argument("--body", type=Path, help="an SMPL-X file to lay onto as well")
    p.add_argument("--known", type=Path, help="npy: the open body's vertex of each of that file's vertices")
    a = p.parse_args()
    body, whole = load_body(), load_body(betas=32)
    places = make_places(whole, np.random.default_rng(a.seed))
    out = {}
    for name in CASES:
        out[name] = run_case(name, a.bodies, body, whole, places, a.seed)
        show(name, out[name])
    if a.body:
        out["file"] = run_file(a.body, a.known, body, places)
        show("file", out["file"])
    finish(out | {"claimed_mm": CLAIMED, "seed": a.seed}, a.json)


if __name__ == "__main__":
    main()
