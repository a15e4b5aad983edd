"""`python -m backend localize IMAGE|FOLDER|VIDEO -o OUT`: any points of everyone in a heap of pictures, in 3D."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from backend.commands import console
from backend.commands.doctor import own_version
from backend.draw.movie import write_overlay
from backend.draw.sheet import MOVIE_SUFFIX, STILL_SUFFIXES, SheetPainter, chosen, draw_sheet, save_picture
from backend.errors import JobError
from backend.files.whole import check_writable
from backend.localizers.choose import create_localizer
from backend.localizers.contract import LocalizerOptions
from backend.options import MocapOptions, choose_device
from backend.people.detect import PersonDetector
from backend.points.file import parse_points
from backend.stills import localize as road
from backend.stills.boxes import read_boxes
from backend.stills.pictures import Pictures, open_pictures
from backend.stills.results import Found, Results

SUFFIXES = (".npz", *STILL_SUFFIXES, MOVIE_SUFFIX)


@console.ends_plainly
def localize(
    source: Path = typer.Argument(
        ...,
        metavar="IMAGE|FOLDER|VIDEO",
        help="A picture, a folder of pictures and all below it, or a movie.",
    ),
    out: list[Path] = typer.Option(
        ...,
        "-o",
        "--out",
        help=".npz for numbers, .png or .jpg for a sheet, .mp4 for a movie; may be repeated.",
    ),
    points: str = typer.Option(
        "coco_17",
        help="coco_17, smplx_55, landmarks_33, surface_N, volume_N, a set of the weights, names of joints and "
        'landmarks, "x,y,z;x,y,z;…" in metres, or a file of points.',
    ),
    boxes: Path | None = typer.Option(
        None, help="CSV with columns file, x, y, width, height: people are where it says, not searched for."
    ),
    localizer: str = typer.Option(
        MocapOptions.localizer, help="As listed by doctor: field, landmarks or installed weights."
    ),
    num_aug: int = typer.Option(1, help="Views of each person that are merged; for weights of your own."),
    fov: float | None = typer.Option(
        None, help="Field of view on the larger side, degrees, if you know the lens."
    ),
    focal: float | None = typer.Option(None, help="Focal length in pixels, if you know it; beats --fov."),
    lens: str = typer.Option(
        "", help="Lens distortion as OpenCV has it: 5, 8 or 12 numbers with commas, or 4 of a fisheye."
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps."),
    precision: str = typer.Option("auto", help="Of the network: auto, fp32, bf16, fp16."),
    compiled: bool = typer.Option(
        False, "--compile", help="Let PyTorch compile the network first: minutes once, then faster."
    ),
    body: str | None = typer.Option(None, help="Your licensed SMPL-X, SMPL-H or SMPL file."),
    batch: int | None = typer.Option(None, help="People and pictures at a time; 8 on a CPU, else 64."),
    max_people: int = typer.Option(4, help="How many people to search for in a picture, the surest first."),
    far: bool = typer.Option(False, help="Search everywhere for people far away too; slower."),
) -> None:
    """Localize points of everyone in pictures: 3D positions with their uncertainty, and drawings of them."""
    options = MocapOptions(localizer, max_people, fov, focal, body, device=device)
    _in_range("batch", 1 if batch is None else batch, 1, 4096)
    _in_range("num-aug", num_aug, 1, 64)
    pictures = open_pictures(source)
    _check_outputs(out, [source, *([boxes] if boxes else []), Path(points)], pictures)
    table = read_boxes(boxes, pictures.names) if boxes else None
    device = choose_device(device)
    figure = options.load_body()
    wanted = LocalizerOptions(device, num_aug, precision, compiled, _numbers(lens), console.warn)
    model = create_localizer(localizer, figure, wanted)
    results = Results(parse_points(points, figure, model.skeletons), localizer, own_version())
    for path in out:
        check_writable(path)
    find = road.given(table) if table else road.detected(PersonDetector(device), max_people, far)
    size = batch or (road.BATCH_CPU if device == "cpu" else road.BATCH_GPU)
    rows = road.localize(
        pictures, model, results.points, find, options.pinhole, size, only_real=table is None
    )
    seconds = _run(rows, results, pictures, out)
    files = _write(results, pictures, out)
    for text in [*pictures.notices, *(table.notices if table else ()), *results.notices]:
        console.warn(text)
    print(json.dumps(_summary(results, seconds, files), indent=1))


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between them. Raises JobError("bad_options")."""
    try:
        return tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise JobError(
            "bad_options", f"--lens takes numbers with commas between them, not '{text}'."
        ) from error


def _in_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise JobError("bad_options", f"--{name} must lie between {low} and {high}, not {value}.")


def _check_outputs(out: Sequence[Path], read: Sequence[Path], pictures: Pictures) -> None:
    """Refuse what cannot be written, and what would overwrite what is `read`, the pictures first among it.

    Raises JobError("bad_output").
    """
    source = read[0]
    for path in out:
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            text = f"{path} ends in none of {', '.join(SUFFIXES)}: the ending says what is to be written."
        elif suffix == MOVIE_SUFFIX and pictures.clip is None:
            text = f"{path.name} is a movie, but {source.name} is none: ask for .png."
        elif path.is_dir():
            text = f"{path} is a folder: name a file in it."
        elif path.exists() and any(path.resolve() == other.resolve() for other in read):
            text = f"{path} is to be read: choose another name for the result."
        elif suffix in STILL_SUFFIXES and source.is_dir() and path.resolve().is_relative_to(source.resolve()):
            text = f"{path} would lie among the pictures of {source}: choose another place for it."
        else:
            continue
        raise JobError("bad_output", text)


def _run(rows: Iterable[Found], results: Results, pictures: Pictures, out: Sequence[Path]) -> float:
    """Fill `results`; -> seconds. What was finished is kept when it is stopped or fails on its way."""
    began = time.perf_counter()
    try:
        for found in console.counted(rows, "Localizing", pictures.total):
            results.found.append(found)
    except (JobError, KeyboardInterrupt) as error:
        if results.found:
            kept = _write(results, pictures, [p for p in out if p.suffix.lower() != MOVIE_SUFFIX])
            text = f"Stopped after {len(results.found)} of {pictures.total or '?'} pictures"
            where = ", ".join(str(p) for p in kept)
            console.warn(f"{text}: {where} holds these." if kept else f"{text}.")
        raise error
    return time.perf_counter() - began


def _write(results: Results, pictures: Pictures, out: Sequence[Path]) -> list[Path]:
    """The files asked for, numbers first; -> those that were written."""
    written = []
    for path in sorted(out, key=lambda p: p.suffix.lower() != ".npz"):
        suffix = path.suffix.lower()
        if suffix == ".npz":
            results.save(path)
        elif suffix == MOVIE_SUFFIX:
            _write_movie(results, pictures, path)
        elif not _write_sheet(results, pictures, path):
            continue
        written.append(path)
    return written


def _write_sheet(results: Results, pictures: Pictures, path: Path) -> bool:
    picked = {f.name: f for f in chosen(results.found)}
    # A file may have gone since.
    cards = ((p.image, picked[p.name]) for p in pictures.only(picked) if p.image is not None)
    title = f"{results.points.name}, {results.localizer}"
    sheet = draw_sheet(cards, results.points, title, alone=len(picked) == 1)
    if sheet is None:
        console.warn(f"No picture could be read, so that there is nothing to draw for {path.name}.")
        return False
    if len(picked) < len(results.found):
        console.warn(f"{path.name} shows {len(picked)} of the {len(results.found)} pictures, evenly chosen.")
    save_picture(path, sheet)
    return True


def _write_movie(results: Results, pictures: Pictures, path: Path) -> None:
    clip = pictures.clip
    assert clip is not None
    painter = SheetPainter(dict(enumerate(results.found)), results.points, clip.width, clip.height)
    for _ in console.counted(write_overlay(clip, painter, path, clip.fps), "Drawing", len(results.found)):
        pass


def _summary(results: Results, seconds: float, files: Sequence[Path]) -> dict[str, object]:
    count = len(results.found)
    return {
        "files": [str(p) for p in files],
        "pictures": count,
        "without_people": sum(not len(f) for f in results.found),
        "people": results.people,
        "seconds": round(seconds, 3),
        "pictures_per_second": round(count / max(seconds, 1e-9), 3),
        "mean_uncertainty": results.mean_uncertainty,
    }
