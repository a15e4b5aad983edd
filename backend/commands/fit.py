"""`python -m backend fit POINTS.npz -o OUT.npz`: points of one person become a body in motion."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import numpy as np
import typer

from backend.body.model import Body, CanonicalPoints
from backend.body.skeleton import N_JOINTS
from backend.camera.pinhole import Camera
from backend.commands import console
from backend.errors import JobError
from backend.files.whole import check_writable, write_aside
from backend.fit.bodyfitter import BodyFitter, FitOptions, surface_and_joints
from backend.options import MocapOptions, choose_device
from backend.points.file import parse_points

_MOST_BYTES = 1 << 36


@console.ends_plainly
def fit(
    source: Path = typer.Argument(
        ...,
        metavar="POINTS.npz",
        help="Arrays points3d (frames, P, 3) in metres, NaN where unseen; uncertainty (frames, P) in metres, "
        "times (frames,) in seconds or fps, points2d (frames, P, 2) in pixels with K (3, 3), all optional.",
    ),
    out: Path = typer.Option(
        ..., "-o", "--out", help="An .npz with poses, betas, trans, joints and uncertainties."
    ),
    points: str = typer.Option(
        "auto",
        help="What the P points are, as for localize; vertices, vertices+joints; auto: the names in the file, or "
        "vertices and joints by their number.",
    ),
    body: str | None = typer.Option(None, help="Your licensed SMPL-X, SMPL-H or SMPL file."),
    betas: int = typer.Option(10, help="Shape coefficients to solve for."),
    expressions: int = typer.Option(0, help="Expression coefficients to solve for."),
    shape: str = typer.Option("track", help="track: one shape for all frames; frame: one each."),
    smooth: float = typer.Option(1.0, help="Strength of the tie between frames; 0 for none."),
    scale: bool = typer.Option(False, help="Solve for a size factor too."),
    robust: bool = typer.Option(True, help="Look for outliers and leave them out."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps."),
) -> None:
    """Fit a body to 3D points of one person, frame by frame or tied in time."""
    if out.suffix.lower() != ".npz":
        raise JobError("bad_output", f"{out} must end in .npz.")
    if out.exists() and out.resolve() == source.resolve():
        raise JobError("bad_output", f"{out} is to be read: choose another name for the result.")
    if not 0 <= smooth < 1e6 or betas < 0 or expressions < 0:
        raise JobError("bad_options", "--smooth, --betas and --expressions are numbers from 0 up.")
    arrays = _read(source)
    check_writable(out)
    options = MocapOptions(body=body, device=device)
    chosen = choose_device(device)
    figure = options.load_body()
    fitter = BodyFitter(
        figure,
        _points(points, figure, arrays, source),
        betas=betas,
        expressions=expressions,
        device=chosen,
    )
    times = _times(arrays, source)
    wanted = FitOptions(
        shape=shape,
        scale=scale,
        smooth=smooth if times is not None else 0.0,
        robust="auto" if robust else "never",
    )
    began = time.perf_counter()
    found = fitter.fit(
        arrays["points3d"],
        arrays.get("uncertainty"),
        times=times,
        options=wanted,
        **_pictures(arrays, source),
    )
    seconds = time.perf_counter() - began
    result = {**found.arrays(), "body": np.array(figure.name)}
    if times is not None:
        result["times"] = times
    write_aside(out, lambda file: np.savez_compressed(file, **result))
    if times is None and smooth > 0 and len(found.pose) > 1:
        console.warn("The file tells neither times nor fps: the frames are fitted each by itself.")
    sigma = float(np.nanmedian(found.joint_uncertainty[:, :22]))
    print(json.dumps({"file": str(out), "frames": len(found.pose), "seconds": seconds, "noise_m":
                      float(np.median(found.noise_m)), "median_joint_uncertainty_m": sigma}, indent=1))  # fmt: skip


def _read(source: Path) -> dict[str, np.ndarray]:
    """The arrays of the file that are of use. Raises JobError("bad_points")."""
    if not source.is_file():
        raise JobError("bad_points", f"There is no file {source}.")
    try:
        if sum(i.file_size for i in zipfile.ZipFile(source).infolist()) > _MOST_BYTES:
            raise JobError("bad_points", f"{source} is too large.")
        with np.load(source, allow_pickle=False) as f:
            known = ("points3d", "points2d", "uncertainty", "times", "fps", "K", "names")
            arrays = {k: f[k] for k in known if k in f.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise JobError(
            "bad_points", f"{source} cannot be read as an .npz file of numbers: give one that holds points3d."
        ) from e
    if "points3d" not in arrays:
        raise JobError("bad_points", f"{source} holds no points3d of shape (frames, points, 3).")
    for name, a in arrays.items():
        if name != "names" and a.dtype.kind not in "iuf":
            raise JobError("bad_points", f"{name} of {source} holds {a.dtype} in place of numbers.")
    if arrays["points3d"].ndim != 3 or arrays["points3d"].shape[2] != 3:
        text = " x ".join(str(n) for n in arrays["points3d"].shape)
        raise JobError("bad_points", f"points3d of {source} is {text}, not frames x points x 3.")
    return arrays


def _points(text: str, body: Body, arrays: dict[str, np.ndarray], source: Path) -> CanonicalPoints:
    """The canonical points that the file's points are. Raises JobError("bad_points")."""
    P, V = arrays["points3d"].shape[1], len(body.v_template)
    if text == "auto":
        if "names" in arrays and arrays["names"].shape == (P,):
            text = ",".join(str(n) for n in arrays["names"])
        else:
            text = {V: "vertices", V + N_JOINTS: "vertices+joints", N_JOINTS: "smplx_55", 33: "landmarks_33",
                    17: "coco_17"}.get(P, "")  # fmt: skip
            if not text:
                raise JobError("bad_points", f"{source} does not say what its {P} points are: give --points.")
    if text == "vertices":
        points = body.vertices_as_points(np.arange(V))
    elif text == "vertices+joints":
        points = surface_and_joints(body)
    else:
        points = parse_points(text, body).points
    if len(points) != P:
        raise JobError("bad_points", f"{source} holds {P} points, but --points names {len(points)}.")
    return points


def _times(arrays: dict[str, np.ndarray], source: Path) -> np.ndarray | None:
    if "times" in arrays:
        return arrays["times"].astype(np.float64)
    if "fps" not in arrays:
        return None
    fps = arrays["fps"].astype(np.float64).reshape(-1)
    if fps.shape != (1,) or not 0 < fps[0] < 1e6:
        raise JobError("bad_points", f"fps of {source} is no number above 0.")
    return np.arange(len(arrays["points3d"])) / fps[0]


def _pictures(arrays: dict[str, np.ndarray], source: Path) -> dict:
    if "points2d" not in arrays or "K" not in arrays:
        return {}
    if arrays["K"].shape != (3, 3) or not np.isfinite(arrays["K"]).all():
        raise JobError("bad_points", f"K of {source} is no 3 x 3 matrix of numbers.")
    camera = Camera(arrays["K"].astype(np.float64), 0, 0)
    return {"points2d": arrays["points2d"].astype(np.float64), "camera": camera}
