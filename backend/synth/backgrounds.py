"""Backgrounds from packages with a free licence: `python -m backend.synth.backgrounds FOLDER ...`.

- `--assets`: the unpacked npm package @pmndrs/assets (CC0), whose light maps are EXR files in base64;
- `--lights`: a folder of .exr light maps, such as Blender's own (datafiles/studiolights/world, CC0);
- `--photos`: pictures as they are, such as scikit-image's (its README says which are in the public domain);
- `--video`: a clip from a camera that stands still; what moves is taken out by the median over time.

Pictures with people in them teach a network that people are background: leave them out.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")

import cv2
import numpy as np
import typer

_FRAMES = 41


def still(video: Path) -> np.ndarray | None:
    """(h, w, 3) uint8 BGR: the median of frames spread over the clip; None if it cannot be read."""
    clip = cv2.VideoCapture(str(video))
    count = int(clip.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, max(count - 1, 0), _FRAMES).astype(int).tolist())
    frames = []
    for i in range(count):
        ok, frame = clip.read()
        if not ok:
            break
        if i in wanted:
            frames.append(frame)
    return np.median(np.stack(frames), 0).astype(np.uint8) if frames else None


def light_map(data: bytes) -> np.ndarray | None:
    """(h, w, 3) float32 of an EXR file's bytes."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if image is None or image.ndim != 3 else image[..., :3].astype(np.float32)


def main(
    folder: Path,
    assets: Annotated[Path | None, typer.Option(help="Unpacked npm package @pmndrs/assets.")] = None,
    lights: Annotated[list[Path] | None, typer.Option(help="Folder of .exr light maps.")] = None,
    photos: Annotated[list[Path] | None, typer.Option(help="A picture without people.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="A clip of a camera that stands still.")] = None,
) -> None:
    """Write backgrounds into FOLDER, in the formats that `World` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    maps: dict[str, bytes] = {}
    for file in sorted((assets / "hdri").glob("*.exr.js")) if assets else []:
        found = re.search(r"base64,([A-Za-z0-9+/=]+)", file.read_text(encoding="utf-8"))
        if found:
            maps[file.name.removesuffix(".exr.js")] = base64.b64decode(found.group(1))
    for place in lights or []:
        maps |= {f"{place.name}_{f.stem}": f.read_bytes() for f in sorted(place.glob("*.exr"))}
    for name, data in maps.items():
        image = light_map(data)
        if image is None:
            raise SystemExit(
                f"The light map {name} cannot be read: this OpenCV has no EXR, or the file is broken."
            )
        (folder / f"{name}.hdr").write_bytes(cv2.imencode(".hdr", image)[1].tobytes())
    for file in photos or []:
        shutil.copy(file, folder / file.name)
    for file in video or []:
        image = still(file)
        if image is None:
            raise SystemExit(f"{file} cannot be read as a video: give another clip.")
        (folder / f"{file.stem}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    print(f"{folder}: {sum(1 for f in folder.iterdir() if f.is_file())} backgrounds")


if __name__ == "__main__":
    typer.run(main)
