"""Fill a folder with synthetic pictures for training: `python -m backend.synth.shards FOLDER --count N`.

A shard is an npz of some hundred JPEG pictures and what is known of each. A run that was stopped goes on where it
was; picture number i is the same whoever makes it, so processes and machines can share the work.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from backend.body import load_body
from backend.errors import JobError
from backend.files.whole import write_aside
from backend.synth import SIDE, Person, SynthPicture, World, draw
from backend.synth.motion import SPLITS
from backend.synth.view import FRAMINGS

_QUALITY = [
    cv2.IMWRITE_JPEG_QUALITY,
    93,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]
_PARAMETERS = ("pose", "betas", "expression", "trans")


@dataclass(frozen=True)
class Recipe:
    """What a folder of pictures holds."""

    motion: str
    """Path of the motion file, "" for poses by rules."""
    backgrounds: str
    """Folder of backgrounds, "" for none."""
    split: str
    """Either "train" or "held-out"."""
    seed: int
    """Of the pictures."""
    side: int
    """Of a picture, pixels."""
    per_file: int
    """Pictures in a shard."""
    framing: str = "crop"
    """One of `view.FRAMINGS`."""
    body: str = ""
    """Path of a body file, "" for the open body."""

    def world(self) -> World:
        files = [p for p in Path(self.backgrounds).iterdir() if p.is_file()] if self.backgrounds else None
        return World(
            load_body(self.body or None), Path(self.motion) if self.motion else None, files, self.split
        )

    def picture(self, world: World, index: int) -> SynthPicture:
        """Picture number `index` of this recipe."""
        return draw(
            np.random.default_rng([self.seed, SPLITS.index(self.split), index]),
            world,
            self.side,
            FRAMINGS[self.framing],
        )


def shard_name(number: int) -> str:
    return f"shard-{number:06d}.npz"


def write_shard(file: Path, pictures: list[SynthPicture]) -> None:
    """Write `pictures` to `file`; there is never half a file of that name. Raises JobError("cannot_write")."""
    jpegs = [cv2.imencode(".jpg", p.image[..., ::-1], _QUALITY)[1].ravel() for p in pictures]
    arrays = {k: np.stack([getattr(p.person, k) for p in pictures]) for k in _PARAMETERS}
    arrays |= {
        "jpegs": np.concatenate(jpegs),
        "ends": np.cumsum([len(j) for j in jpegs]),
        "K": np.stack([p.K for p in pictures]),
        "visible": np.stack([np.packbits(p.visible) for p in pictures]),
        "vertices": np.int64(len(pictures[0].visible)),
        "kind": np.array([p.kind for p in pictures]),
    }
    write_aside(file, lambda out: np.savez(out, **arrays))


class Shard:
    """The pictures of one file, decoded one by one. JobError("bad_shard") if it is not such a file."""

    def __init__(self, file: Path) -> None:
        try:
            with np.load(file) as arrays:
                self.arrays = {k: arrays[k] for k in arrays.files}
            self.starts = np.concatenate([[0], self.arrays["ends"]])
        except (OSError, ValueError, KeyError) as e:
            raise JobError(
                "bad_shard", f"{file} is not a shard of pictures: delete it and make it again."
            ) from e

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> SynthPicture:
        if not 0 <= i < len(self):
            raise IndexError(i)
        a = self.arrays
        image = cv2.imdecode(a["jpegs"][self.starts[i] : self.starts[i + 1]], cv2.IMREAD_COLOR)[..., ::-1]
        visible = np.unpackbits(a["visible"][i], count=int(a["vertices"])).astype(bool)
        person = Person(*(a[k][i] for k in _PARAMETERS))
        return SynthPicture(np.ascontiguousarray(image), a["K"][i], person, visible, str(a["kind"][i]))


def prepare_folder(folder: Path, recipe: Recipe) -> None:
    """Make `folder`, or check that what is in it was made by the same recipe. JobError("bad_shard") if not."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "recipe.json"
    text = json.dumps(asdict(recipe), indent=1)
    if not note.exists():
        note.write_text(text, encoding="utf-8")
    elif note.read_text(encoding="utf-8") != text:
        raise JobError(
            "bad_shard", f"{folder} was filled by another recipe (see recipe.json): choose another folder."
        )


def fill(folder: Path, recipe: Recipe, numbers: list[int], last: int) -> None:
    """Make the shards `numbers` that are not there yet; picture numbers stop before `last`."""
    cv2.setNumThreads(1)
    world = None
    for number in numbers:
        file = folder / shard_name(number)
        if file.exists():
            continue
        world = world or recipe.world()
        begin = time.perf_counter()
        first = number * recipe.per_file
        pictures = [recipe.picture(world, i) for i in range(first, min(first + recipe.per_file, last))]
        write_shard(file, pictures)
        print(f"{file.name}: {len(pictures) / (time.perf_counter() - begin):.1f} pictures/s", flush=True)


def run(folder: Path, recipe: Recipe, count: int, processes: int) -> None:
    """Fill `folder` with pictures 0 ... count - 1."""
    prepare_folder(folder, recipe)
    numbers = list(range(-(-count // recipe.per_file)))
    shares = [numbers[k::processes] for k in range(processes)]
    if processes == 1:
        fill(folder, recipe, numbers, count)
        return
    # A fresh interpreter each, so that it obeys the number of threads.
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=fill, args=(folder, recipe, share, count)) for share in shares if share]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if any(w.exitcode for w in workers):
        raise JobError(
            "no_shards", "A process stopped before its pictures were made: see above, then run again."
        )


def main(
    folder: Path,
    count: Annotated[int, typer.Option(help="Pictures in all.", min=1)] = 10_000,
    motion: Annotated[
        Path | None, typer.Option(help="npz of body poses; without it poses come from rules.")
    ] = None,
    backgrounds: Annotated[Path | None, typer.Option(help="Folder of pictures and .hdr panoramas.")] = None,
    split: Annotated[str, typer.Option(help="train or held-out.")] = "train",
    seed: int = 0,
    side: Annotated[int, typer.Option(help="Pixels of a picture's side.")] = SIDE,
    framing: Annotated[
        str, typer.Option(help="crop, or wide for a training that cuts its own crops.")
    ] = "crop",
    per_file: Annotated[int, typer.Option(min=1)] = 500,
    processes: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Fill FOLDER with synthetic pictures of people."""
    if split not in SPLITS or framing not in FRAMINGS:
        raise SystemExit(
            f"The split is one of {', '.join(SPLITS)}, the framing one of {', '.join(FRAMINGS)}."
        )
    recipe = Recipe(str(motion or ""), str(backgrounds or ""), split, seed, side, per_file, framing)
    try:
        run(folder, recipe, count, processes)
    except JobError as e:
        raise SystemExit(str(e)) from e


if __name__ == "__main__":
    typer.run(main)
