"""Runs smplfitter 0.6.0 on the scenarios of a folder; started by `bench.fit` in the rival's interpreter.

    python fit_rival.py FOLDER

Reads settings.json, models/smplx/ and NAME.npz; writes NAME_<use>_out.npz and rival.json (CPU ms per fit).
"""

import json
import os
import sys
import time
from pathlib import Path

FOLDER = Path(sys.argv[1])
os.environ["SMPLFITTER_BODY_MODELS"] = str(FOLDER / "models")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from smplfitter.pt import BodyFitter, BodyModel  # noqa: E402

KEYS = ["pose_rotvecs", "shape_betas", "trans"]
SUBSET = 1024


def fit(fitter, arrays, joints, reg, share):
    """One batch with three iterations -> dict of numpy arrays."""
    t = {k: torch.from_numpy(np.ascontiguousarray(v, np.float32)) for k, v in arrays.items() if k != "clip"}
    vw, jw = t.get("vw"), t.get("jw") if joints else None
    with torch.inference_mode():
        r = fitter.fit(t["tv"], t["tj"] if joints else None, vw, jw, num_iter=3, beta_regularizer=reg,
                       share_beta=share, final_adjust_rots=True, requested_keys=KEYS)  # fmt: skip
    return {k: r[n].numpy() for k, n in zip(("pose", "betas", "trans"), KEYS, strict=True)}


def spread(points, parts, number):
    """Rows of `number` vertices: eight far from each other in every body part, the rest far from those."""
    chosen = []
    for part in range(55):
        rows = np.flatnonzero(parts == part)
        far = np.full(len(rows), np.inf)
        at = 0
        for _ in range(min(8, len(rows))):
            chosen.append(rows[at])
            far = np.minimum(far, np.linalg.norm(points[rows] - points[rows[at]], axis=1))
            at = far.argmax()
    far = np.full(len(points), np.inf)
    for row in chosen:
        far = np.minimum(far, np.linalg.norm(points - points[row], axis=1))
    while len(chosen) < number:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.sort(np.array(chosen[:number]))


def main():
    """Fit everything, then time it."""
    settings = json.loads((FOLDER / "settings.json").read_text())
    torch.set_num_threads(1)
    model = BodyModel("smplx", "neutral", num_betas=10)
    fitter = BodyFitter(model)
    for name in settings["names"]:
        arrays = dict(np.load(FOLDER / f"{name}.npz"))
        for k, (joints, reg) in enumerate(((True, 1.0), (False, 0.1))):
            np.savez(FOLDER / f"{name}_{k}_out.npz", **_batches(fitter, arrays, joints, reg))
    times = {}
    if settings["time"]:
        arrays = dict(np.load(FOLDER / "time.npz"))
        with np.load(FOLDER / "models" / "smplx" / "SMPLX_NEUTRAL.npz") as body:
            rows = spread(body["v_template"], body["weights"].argmax(1), SUBSET)
        few = BodyFitter(
            BodyModel("smplx", "neutral", num_betas=10, vertex_subset=rows, joint_regressor_post_lbs=None)
        )
        some = {**arrays, "tv": arrays["tv"][:, rows]}
        for label, one, data in (("all vertices", fitter, arrays), ("1024 vertices", few, some)):
            took = []
            for k in range(settings["repeats"] + 1):
                start = time.process_time()
                fit(one, data, True, 1.0, False)
                if k:
                    took.append(time.process_time() - start)
            times[label] = 1e3 * float(np.median(took)) / len(arrays["tv"])
    (FOLDER / "rival.json").write_text(json.dumps({"times": times}))


def _batches(fitter, arrays, joints, reg):
    if bool(arrays["clip"]):
        return fit(fitter, arrays, joints, reg, True)
    parts = []
    for i in range(0, len(arrays["tv"]), 32):
        some = {k: v[i : i + 32] for k, v in arrays.items() if k != "clip"}
        parts.append(fit(fitter, some, joints, reg, False))
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


if __name__ == "__main__":
    main()
