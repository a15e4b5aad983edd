"""A contact sheet of synthetic pictures: `python -m backend.synth OUT.png --motion POSES.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from backend.errors import JobError
from backend.synth import SynthPicture, World, points_of
from backend.synth.motion import SPLITS
from backend.synth.shards import Recipe
from backend.synth.view import FRAMINGS


def sheet(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures (S, S, 3) side by side in rows; what is left of the last row is black."""
    blank = [np.zeros_like(pictures[0])] * (-len(pictures) % columns)
    pictures = pictures + blank
    rows = [np.concatenate(pictures[i : i + columns], 1) for i in range(0, len(pictures), columns)]
    return np.concatenate(rows)


def dotted(world: World, p: SynthPicture) -> np.ndarray:
    """The picture with every eighth vertex: green where it is seen, red where it is hidden."""
    image = p.image.copy()
    x = points_of(world, p.person) @ p.K.T
    xy = np.rint(x[:, :2] / x[:, 2:]).astype(int)
    inside = ((xy >= 0) & (xy < len(image))).all(1)
    for seen, colour in ((False, (230, 40, 40)), (True, (40, 230, 40))):
        rows = np.flatnonzero(inside & (p.visible == seen))[::8]
        image[xy[rows, 1], xy[rows, 0]] = colour
    return image


def main(
    out: Path,
    motion: Annotated[
        Path | None, typer.Option(help="npz of body poses; without it poses come from rules.")
    ] = None,
    backgrounds: Annotated[Path | None, typer.Option(help="Folder of pictures and .hdr panoramas.")] = None,
    split: Annotated[str, typer.Option(help="train or held-out.")] = "train",
    seed: int = 0,
    count: Annotated[int, typer.Option(min=1)] = 32,
    columns: Annotated[int, typer.Option(min=1)] = 8,
    side: int = 256,
    framing: Annotated[str, typer.Option(help="crop or wide.")] = "crop",
    dots: Annotated[bool, typer.Option(help="Show the vertices that are seen and hidden.")] = False,
) -> None:
    """Write a contact sheet to OUT.png."""
    if split not in SPLITS or framing not in FRAMINGS:
        raise SystemExit(
            f"The split is one of {', '.join(SPLITS)}, the framing one of {', '.join(FRAMINGS)}."
        )
    recipe = Recipe(str(motion or ""), str(backgrounds or ""), split, seed, side, 1, framing)
    try:
        world = recipe.world()
    except JobError as e:
        raise SystemExit(str(e)) from e
    pictures = [recipe.picture(world, i) for i in range(count)]
    images = [dotted(world, p) if dots else p.image for p in pictures]
    ok, data = cv2.imencode(out.suffix or ".png", sheet(images, columns)[..., ::-1])
    if not ok:
        raise SystemExit(f"{out} cannot be written: give a name that ends in .png or .jpg.")
    out.write_bytes(data.tobytes())


if __name__ == "__main__":
    typer.run(main)
