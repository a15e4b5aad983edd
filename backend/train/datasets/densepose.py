"""COCO DensePose: `densepose_coco_2014_<split>.json`, `UV_Processed.mat`, and COCO's pictures of 2014.

Layout of the annotations: detectron2's projects/DensePose/doc/DENSEPOSE_DATASETS.md and DensePose's notebook
(dp_x, dp_y: 0 ... 255 across the box, whose numbers are rounded; dp_I: chart 1 ... 24; dp_U, dp_V: place in it).
Layout of the charts (part of DensePose's UV_data): variables All_Faces, All_FaceIndices, All_U_norm, All_V_norm,
All_vertices, as DensePose's dense_pose_methods.py reads them. They name triangles of SMPL, so the user's licensed
SMPL_NEUTRAL is needed; its surface is carried to the learnt body by the map of volumes.

All points were marked on what annotators saw, so all count.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.body.model import Body
from backend.train.datasets.arrays import read_mat
from backend.train.datasets.bodies import licensed_body
from backend.train.datasets.carried import vertices_in
from backend.train.datasets.coco import HIPS, SHOULDERS, centred, people_of, picture_folder
from backend.train.datasets.folders import first, inside, read_json, wrong
from backend.train.datasets.record import Photo, Record, axis_of

LEAST_POINTS = 20
_WHAT = "COCO DensePose"
_ACROSS = 255.0


class DensePose:
    """Left out: people with fewer than 20 points, and those that `coco.Coco` leaves out for their box."""

    root = -1

    def __init__(self, folder: Path, body: Body, bodies: str, split: str = "") -> None:
        split = split or "train"
        name = f"densepose_coco_2014_{split}.json"
        # Named by DensePose itself, or by detectron2.
        names = [
            f"{p}{n}"
            for n in (name, f"densepose_{split}2014.json")
            for p in ("", "annotations/", "DensePose_COCO/")
        ]
        file = first(folder, names, _WHAT)
        self._pictures = picture_folder(folder, "train2014" if split == "train" else "val2014", _WHAT)
        uv = first(folder, ("UV_data/UV_Processed.mat", "UV_Processed.mat"), _WHAT)
        smpl = licensed_body(bodies, "smpl", "neutral", _WHAT)
        self._charts = Charts(uv, len(smpl.body.v_template))
        self._surface = vertices_in(body, smpl)
        self._people = [
            (name, kept(person))
            for name, people in people_of(read_json(file, _WHAT), file).items()
            for person, alone in people
            if alone and len(person.get("dp_x", ())) >= LEAST_POINTS
        ]
        if not self._people:
            raise wrong(_WHAT, file, "it holds nobody with enough points")

    def __len__(self) -> int:
        return len(self._people)

    def record(self, i: int) -> Record:
        """See `Records.record`."""
        name, person = self._people[i]
        corners, share = self._charts.find(person["dp_I"], person["dp_U"], person["dp_V"])
        points = (self._surface[corners] * share[..., None]).sum(1).astype(np.float32)
        box, marks = person["bbox"], person["keypoints"].reshape(-1, 3)
        x, y, w, h = np.round(box)
        xy = [x, y] + np.stack([person["dp_x"], person["dp_y"]], 1) / _ACROSS * [w, h]
        axis = axis_of(marks[:, :2], marks[:, 2] > 0, HIPS, SHOULDERS) if len(marks) == 17 else None
        return Record(
            Photo(inside(self._pictures, name, _WHAT)),
            centred(box),
            points,
            xy,
            np.ones(len(xy), bool),
            axis=axis,
        )


def kept(person) -> dict[str, np.ndarray]:
    """The numbers of an annotation. JobError("bad_data") if they do not belong together."""
    try:
        out = {n: np.asarray(person[n], np.float64) for n in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V", "bbox")}
        out["keypoints"] = np.asarray(person.get("keypoints", ()), np.float64)
    except (KeyError, TypeError, ValueError) as e:
        raise wrong(_WHAT, "An annotation", "its numbers are missing") from e
    marked = [out[n] for n in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")]
    if len({a.shape for a in marked}) != 1 or not all(np.isfinite(a).all() for a in marked):
        raise wrong(_WHAT, "An annotation", "its points are not as many as their numbers")
    return out


class Charts:
    """DensePose's 24 charts of SMPL's surface, `vertices` of them."""

    def __init__(self, file: Path, vertices: int) -> None:
        names = ("All_Faces", "All_FaceIndices", "All_U_norm", "All_V_norm", "All_vertices")
        faces, parts, u, v, own = (np.asarray(a) for a in read_mat(file, "DensePose's charts", *names))
        faces, own = faces.astype(np.int64) - 1, own.ravel().astype(np.int64) - 1
        sound = faces.ndim == 2 and faces.shape[1] == 3 and parts.shape == (len(faces),)
        sound = sound and u.shape == v.shape == own.shape and 0 <= faces.min() <= faces.max() < len(own)
        if not sound or not 0 <= own.min() <= own.max() < vertices:
            raise wrong(
                "DensePose's charts", file, f"its triangles do not belong to a body of {vertices} vertices"
            )
        self._uv, self._corners = np.stack([u, v], 1).astype(np.float64)[faces], own[faces]
        self._rows = {int(part): np.flatnonzero(parts == part) for part in np.unique(parts)}

    def find(self, part: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """SMPL's vertices (P, 3) at the corners of the triangle of each place and its barycentric coordinates (P, 3);
        beside every triangle the nearest corner counts. JobError("bad_data") for a chart that is not there."""
        corners, share = np.zeros((len(part), 3), np.int64), np.zeros((len(part), 3))
        for number in np.unique(part):
            if int(number) not in self._rows:
                raise wrong("COCO DensePose", "An annotation", f"there is no chart {number:g}")
            rows, mine = self._rows[int(number)], part == number
            triangle, found = in_triangles(np.stack([u[mine], v[mine]], 1), self._uv[rows])
            corners[mine], share[mine] = self._corners[rows[triangle]], found
        return corners, share


def in_triangles(p: np.ndarray, tri: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the plane triangles (T, 3, 2) each of `p` (P, 2) lies in, (P,), and its coordinates there (P, 3)."""
    a, e0, e1 = tri[:, 0], tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]
    det = e0[:, 0] * e1[:, 1] - e0[:, 1] * e1[:, 0]
    det = np.where(np.abs(det) < 1e-14, np.nan, det)
    d = p[:, None] - a
    s = (d[..., 0] * e1[:, 1] - d[..., 1] * e1[:, 0]) / det
    t = (e0[:, 0] * d[..., 1] - e0[:, 1] * d[..., 0]) / det
    bary = np.stack([1 - s - t, s, t], -1)
    worst = np.nan_to_num(bary.min(-1), nan=-np.inf)
    triangle, rows = worst.argmax(1), np.arange(len(p))
    out = bary[rows, triangle]
    for i in np.flatnonzero(worst[rows, triangle] < -1e-9):
        far = ((tri - p[i]) ** 2).sum(-1)
        triangle[i], corner = np.unravel_index(far.argmin(), far.shape)
        out[i] = np.eye(3)[corner]
    return triangle, out
