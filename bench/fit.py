"""The fitter against smplfitter 0.6.0: accuracy and CPU time on made-up bodies of known pose, scenario by scenario.

`--rival PYTHON` names an interpreter with smplfitter 0.6.0 and torch, in an environment of its own; without it only
our own figures are printed, and the report says so. Both of its uses are run, three iterations each: joints given,
and joints left to it with `beta_regularizer=0.1`; the better one counts. `--body FILE` takes a body in SMPL-X layout
in place of the open one; `--data FOLDER` takes scenarios from files `NAME.npz` in place of making
them (arrays tv, tj, pose, betas, trans, verts, joints and, where weights are given, vw, jw: 1/variance).

    python -m bench.fit --seed 7 --n 32 --scenarios clean,iid10,hands --rival PYTHON --json out.json
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from backend.body.kinematics import forward, rodrigues
from backend.body.load import load_body
from backend.body.model import Body
from backend.body.points import joint_point, stack
from backend.draw.dots import surface_sample
from backend.fit.bodyfitter import BodyFitter, FitOptions, surface_and_joints
from backend.fit.smoother import plain_smoother
from bench.fit_scenarios import NAMES, Scenario, make_scenario, read_scenario
from bench.report import finish, parser

BODY, HANDS = slice(0, 22), slice(25, 55)
BATCH = 32
SMOOTHING = (1.0, 10.0, 30.0, 1e2, 1e3, 1e4)
"""Strengths of the plain smoother; the best against the truth is taken, for both fitters alike."""
TARGETS = {
    "clean": 0.10, "iid10": 0.15, "iid30": 0.15, "outlier20": 0.10, "outlier20_unweighted": 0.15, "corr": 0.85,
    "limb_off": 0.70, "clip_corr": 0.75, "hands": 0.50,
}  # fmt: skip
RIVALS = ("joints given", "joints from vertices, reg 0.1")

RIVAL = Path(__file__).with_name("fit_rival.py")


def run_rival(python: str, folder: Path) -> dict:
    """Fits every scenario in `folder` with smplfitter in another interpreter; its answers and times."""
    ran = subprocess.run([python, str(RIVAL), str(folder)], capture_output=True, text=True, check=False)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        sys.exit(f"The rival in {python} does not run: {last} (it needs smplfitter 0.6.0 and torch).")
    return json.loads((folder / "rival.json").read_text(encoding="utf-8"))


def errors(body: Body, scene: Scenario, fit: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean errors against the truth: vertices and body joints in mm, rotations of body joints (fingers for the scenario
    hands) in degrees, acceleration of body joints in mm per frame^2."""
    vertices, joints = posed(body, fit["pose"], fit["betas"], fit["trans"])
    off = np.linalg.norm(vertices - scene.vertices, axis=-1).mean()
    j = np.linalg.norm(joints - scene.joints, axis=-1)[:, BODY].mean()
    rows = HANDS if scene.name == "hands" else BODY
    n = len(scene.pose)
    a, b = (rodrigues(torch.as_tensor(p.reshape(n, 55, 3)[:, rows], dtype=torch.float64))
            for p in (fit["pose"], scene.pose))  # fmt: skip
    half = ((a - b).flatten(-2).norm(dim=-1) / 8**0.5).clamp(max=1)
    out = {"vertex_mm": 1e3 * float(off), "joint_mm": 1e3 * float(j),
           "rotation_deg": float(torch.rad2deg(2 * torch.asin(half)).mean())}  # fmt: skip
    if scene.clip:
        d = np.diff(joints[:, BODY] - scene.joints[:, BODY], 2, axis=0)
        out["acceleration_mm"] = 1e3 * float(np.linalg.norm(d, axis=-1).mean())
    return out


def posed(
    body: Body, pose: np.ndarray, betas: np.ndarray, trans: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, V, 3) and joints (n, 55, 3), metres."""
    tensors, v, j = body.to("cpu"), [], []
    for i in range(0, len(pose), BATCH):
        rows = slice(i, i + BATCH)
        args = (
            torch.as_tensor(np.asarray(a[rows], np.float32)) for a in (pose.reshape(-1, 55, 3), betas, trans)
        )
        out = forward(tensors, *args, vertices=True)
        v.append(out.vertices.numpy())
        j.append(out.joints.numpy())
    return np.concatenate(v), np.concatenate(j)


def run_ours(fitter: BodyFitter, scene: Scenario, smooth: float = 0.0) -> dict[str, np.ndarray]:
    """Our fit of a scenario: one shape for a clip, one each for single frames."""
    sigma = None
    if scene.vertex_sigma is not None:
        sigma = np.concatenate([scene.vertex_sigma, scene.joint_sigma], 1)
    targets = np.concatenate([scene.target_vertices, scene.target_joints], 1)
    options = FitOptions(shape="track" if scene.clip else "frame", smooth=smooth, uncertainties=False)
    times = np.arange(len(targets)) / 30
    fit = fitter.fit(targets, sigma, times=times, options=options)
    return {"pose": fit.pose, "betas": fit.betas, "trans": fit.trans}


def smoothed(body: Body, scene: Scenario, fit: dict[str, np.ndarray]) -> tuple[dict[str, float], float]:
    """Errors after the plain smoother at the strength that is best against the truth, and that strength."""
    found = []
    for strength in SMOOTHING:
        pose, trans = plain_smoother(fit["pose"], fit["trans"], strength)
        found.append((errors(body, scene, {**fit, "pose": pose, "trans": trans}), strength))
    return min(found, key=lambda f: f[0]["vertex_mm"])


def cpu_ms(call, repeats: int) -> float:
    """Median CPU milliseconds of `call`, one thread."""
    call()
    took = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        took.append(time.process_time() - start)
    return 1e3 * float(np.median(took))


def main() -> None:
    """Make or read the scenarios, run both, print the table."""
    p = parser(__doc__.split("\n\n")[0])
    p.add_argument("--n", type=int, default=32, help="frames of each scenario (clips have 60)")
    p.add_argument("--scenarios", default=",".join([*NAMES, "time"]), help="comma-separated names")
    p.add_argument("--rival", help="an interpreter with smplfitter 0.6.0")
    p.add_argument("--body", type=Path, help="SMPL-X layout file in place of the open body")
    p.add_argument("--data", type=Path, help="folder with NAME.npz in place of made-up scenarios")
    p.add_argument("--repeats", type=int, default=7, help="repetitions of the timing")
    args = p.parse_args()
    names = [n for n in args.scenarios.split(",") if n]
    if wrong := [n for n in names if n not in (*NAMES, "time") and not args.data]:
        p.error(f"unknown scenario(s) {', '.join(wrong)}: choose from {', '.join([*NAMES, 'time'])}")
    torch.set_num_threads(1)
    body = load_body(args.body, betas=10, expressions=0)
    fitter = BodyFitter(body, surface_and_joints(body))
    scenes = [read_scenario(args.data / f"{n}.npz") if args.data else make_scenario(body, n, args.n, args.seed)
              for n in names if n != "time"]  # fmt: skip
    speed = make_scenario(body, "iid10", BATCH, args.seed) if "time" in names else None
    theirs = {}
    if args.rival:
        with tempfile.TemporaryDirectory() as folder:
            theirs = _rival(args, body, Path(folder), scenes, speed)
    rows = []
    for scene in scenes:
        rows += _scene_rows(body, fitter, scene, theirs)
    if speed is not None:
        ms = cpu_ms(lambda: run_ours(fitter, speed), args.repeats) / BATCH
        rows.append({"scenario": "time", "fitter": "ours", "cpu_ms_per_fit": ms})
        few, some = _subset(body, speed)
        ms = cpu_ms(lambda: run_ours(few, some), args.repeats) / BATCH
        rows.append({"scenario": "time", "fitter": "ours, 1024 vertices", "cpu_ms_per_fit": ms})
        rows += [{"scenario": "time", "fitter": f"smplfitter, {name}", "cpu_ms_per_fit": took}
                 for name, took in theirs.get("times", {}).items()]  # fmt: skip
    ratios = _ratios(rows)
    _print(rows, ratios)
    note = None if args.rival else "The rival smplfitter was not run: give --rival PYTHON for ratios."
    finish(
        {"seed": args.seed, "n": args.n, "body": body.name, "rows": rows, "ratios": ratios, "note": note},
        args.json,
    )
    if note:
        print(note, file=sys.stderr)


def _rival(args, body: Body, folder: Path, scenes: list[Scenario], speed: Scenario | None) -> dict:
    for scene in [*scenes, *([] if speed is None else [speed])]:
        name = "time" if scene is speed else scene.name
        weights = {}
        if scene.vertex_sigma is not None:
            wv, wj = scene.vertex_sigma**-2.0, scene.joint_sigma**-2.0
            mean = np.concatenate([wv, wj], 1).mean(1, keepdims=True)
            weights = {"vw": wv / mean, "jw": wj / mean}
        np.savez(
            folder / f"{name}.npz",
            tv=scene.target_vertices,
            tj=scene.target_joints,
            clip=scene.clip,
            **weights,
        )
    arrays = {"v_template": body.v_template, "f": body.faces, "weights": body.weights, "shapedirs": body.shapedirs,
              "J_regressor": body.J_regressor,
              "kintree_table": np.stack([body.parents.astype(np.int64), np.arange(55)])}  # fmt: skip
    pose = np.zeros((len(body.v_template), 3, 486), np.float32)
    if body.posedirs is not None:
        pose = body.posedirs.T.reshape(-1, 3, 486)
    (folder / "models" / "smplx").mkdir(parents=True)
    np.savez(folder / "models" / "smplx" / "SMPLX_NEUTRAL.npz", posedirs=pose, **arrays)
    np.save(folder / "models" / "smplx" / "kid_template.npy", np.zeros_like(body.v_template))
    settings = {"repeats": args.repeats, "names": [s.name for s in scenes], "time": speed is not None}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    said = run_rival(args.rival, folder)
    for scene in scenes:
        for k in range(len(RIVALS)):
            with np.load(folder / f"{scene.name}_{k}_out.npz") as f:
                said[scene.name, k] = {name: f[name] for name in f.files}
    return said


def _subset(body: Body, scene: Scenario, number: int = 1024) -> tuple[BodyFitter, Scenario]:
    """A fitter for `number` vertices far from each other and the joints, and the scenario seen at those."""
    rows = np.sort(surface_sample(body, number))
    joints = stack([joint_point(body, name) for name in body.joint_names])
    points = stack([body.vertices_as_points(rows), joints])
    return BodyFitter(body, points), replace(scene, target_vertices=scene.target_vertices[:, rows])


def _scene_rows(body: Body, fitter: BodyFitter, scene: Scenario, theirs: dict) -> list[dict]:
    found = [("ours", run_ours(fitter, scene))]
    found += [
        (f"smplfitter, {RIVALS[k]}", theirs[scene.name, k]) for k in range(2) if (scene.name, k) in theirs
    ]
    rows = [{"scenario": scene.name, "fitter": name, **errors(body, scene, fit)} for name, fit in found]
    if scene.clip:
        for name, fit in found:
            figures, strength = smoothed(body, scene, fit)
            rows.append(
                {"scenario": f"{scene.name}, same smoother", "fitter": name, **figures, "strength": strength}
            )
        tied = run_ours(fitter, scene, smooth=1.0)
        rows.append(
            {"scenario": f"{scene.name}, own ties in time", "fitter": "ours", **errors(body, scene, tied)}
        )
    return rows


def _ratios(rows: list[dict]) -> dict[str, dict]:
    """Ours against the better of the rival's uses, with the target."""
    out = {}
    for name in dict.fromkeys(r["scenario"] for r in rows):
        mine = [r for r in rows if r["scenario"] == name and r["fitter"] == "ours"]
        rivals = [r for r in rows if r["scenario"] == name and r["fitter"].startswith("smplfitter")]
        if not mine or not rivals:
            continue
        if name == "time":
            for r in rivals:
                key = f"time against {r['fitter'].removeprefix('smplfitter, ')}"
                goal = 0.7 if "1024" in key else 0.13
                out[key] = {"ratio": mine[0]["cpu_ms_per_fit"] / r["cpu_ms_per_fit"], "target": goal}
            few = next(r for r in rows if r["fitter"] == "ours, 1024 vertices")
            ratio = few["cpu_ms_per_fit"] / rivals[-1]["cpu_ms_per_fit"]
            out["time, 1024 vertices given to both"] = {"ratio": ratio, "target": 0.7}
            continue
        what = "rotation_deg" if name == "hands" else "vertex_mm"
        goal = TARGETS.get(name.removesuffix(", same smoother"))
        if name == "clip_corr":
            goal = None
        out[name] = {"ratio": mine[0][what] / min(r[what] for r in rivals), "target": goal}
    return out


def _print(rows: list[dict], ratios: dict) -> None:
    for r in rows:
        figures = "  ".join(f"{k} {v:.3g}" for k, v in r.items() if isinstance(v, float))
        print(f"{r['scenario']:32s} {r['fitter']:42s} {figures}")
    for name, r in ratios.items():
        goal = "" if r["target"] is None else f"   target {r['target']:.2f}" + (
            "" if r["ratio"] <= r["target"] else "   MISSED")  # fmt: skip
        print(f"{name:52s} {r['ratio']:.3f}{goal}")


if __name__ == "__main__":
    main()
