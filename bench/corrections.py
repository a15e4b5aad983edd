"""Seconds that a correction of who is who takes in a process that is already running, and whether it comes out as if
everything had been solved anew.

    python -m bench.corrections --json corrections.json
    python -m bench.corrections --lengths 40 150 300

One clip is followed once (`tests/data/two_people.mp4`); longer ones are what was seen of it, forth and back, with noise
of their own (`--seed`), so that no two frames are the same. `full_s` is the same correction where nothing was kept.
`moved_mm` is how far any joint is from where that puts it, `others_mm` how far people were moved whom the correction
does not name.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from backend.batch.clip import Outcome, run_again, run_clip
from backend.jobs.folder import DONE, JobFolder, JobStore
from backend.jobs.pieces import PIECES
from backend.motion.rejoin import taken
from backend.options import MocapOptions
from backend.people.edits import edits_from_text
from backend.records import Chunk, TrackChunk
from bench import report
from blender_addon.shared.threads import give_way

CLIP = Path(__file__).resolve().parents[1] / "tests" / "data" / "two_people.mp4"
CHUNK = 32
NOISE_M, NOISE_PX = 0.003, 0.5
ROUNDS = 3


def lengthened(chunks: list[Chunk], frames: int, rng: np.random.Generator) -> list[Chunk]:
    """What was seen, forth and back until there are so many frames."""
    n = chunks[-1].last + 1
    times = np.concatenate([c.times for c in chunks])
    step = float(np.median(np.diff(times)))
    there = np.arange(frames) % (2 * n - 2)
    source = np.where(there < n, there, 2 * n - 2 - there)
    rows: dict[int, list[TrackChunk]] = {}
    for t in (t for c in chunks for t in c.tracks):
        rows.setdefault(t.track, []).append(t)
    signatures = np.concatenate([c.signatures for c in chunks])
    out = []
    for first in range(0, frames, CHUNK):
        last = min(first + CHUNK, frames) - 1
        some = [_some(parts, source, first, last, step, rng) for parts in rows.values()]
        out.append(replace(chunks[0], first=first, last=last, tracks=[t for t in some if len(t.frames)], background={},
                           times=np.arange(first, last + 1) * step,
                           signatures=signatures[source[first : last + 1]]))  # fmt: skip
    return out


def _some(
    parts: list[TrackChunk], source: np.ndarray, first: int, last: int, step: float, rng: np.random.Generator
) -> TrackChunk:
    row = {int(f): (t, i) for t in parts for i, f in enumerate(t.frames)}
    frames = np.array([f for f in range(first, last + 1) if int(source[f]) in row], np.int32)
    at = [row[int(source[f])] for f in frames]
    take = lambda name: np.array([getattr(t, name)[i] for t, i in at])  # noqa: E731
    p3, p2 = take("points3d"), take("points2d")
    p3 = p3 + rng.normal(0, NOISE_M, p3.shape).astype(np.float32)
    p2 = p2 + rng.normal(0, NOISE_PX, p2.shape).astype(np.float32)
    return TrackChunk(parts[0].track, frames, frames * step, take("boxes"), p3, p2, take("uncertainty"), take("score"),
                      take("looks"), take("doubt"))  # fmt: skip


def parted(chunks: list[Chunk], half: int) -> list[Chunk]:
    """As if the first person had been lost at the frame `half`, and found again as somebody in other clothes."""
    out = []
    for chunk in chunks:
        tracks = []
        for t in chunk.tracks:
            early, late = (taken(t, np.flatnonzero(rows)) for rows in (t.frames < half, t.frames >= half))
            if t.track == 1 and len(late.frames):
                other = late.looks + np.float16([0, 60, 60, 0])
                tracks += [early] * bool(len(early.frames))
                tracks.append(replace(late, track=3, looks=other, source=None))
            else:
                tracks.append(t)
        out.append(replace(chunk, tracks=tracks))
    return out


def job_of(store: JobStore, like: JobFolder, chunks: list[Chunk]) -> str:
    """A finished job that has seen `chunks`."""
    frames = chunks[-1].last + 1
    folder = store.create(like.record.options, {**like.record.clip, "frame_count": frames})
    for k, chunk in enumerate(chunks):
        folder.save_chunk(k, chunk)
    folder.update(state=DONE, frames=frames)
    return folder.record.id


def timed(job: str, edits: list[str], home: Path) -> tuple[float, float, Outcome]:
    """Seconds by the clock and of the processor, and what came out."""
    wanted = {"edits": [e.to_dict() for e in edits_from_text(edits)]}
    wall, cpu = time.perf_counter(), time.process_time()
    outcome = run_again(job, wanted, lambda event: None, home)
    return time.perf_counter() - wall, time.process_time() - cpu, outcome


def moved(a: Outcome, b: Outcome, tracks: set[int] | None = None) -> float:
    """Millimetres between the same people at most; of `tracks` only, where they are given."""
    theirs = {m.track: m for m in b.motions}
    far = [np.abs(m.joints - theirs[m.track].joints).max() for m in a.motions
           if m.track in theirs and (tracks is None or m.track in tracks)]  # fmt: skip
    return float(max(far, default=0.0)) * 1000


def cases(frames: int) -> dict[str, tuple[list[str], set[int]]]:
    """Corrections, and the people that each of them changes."""
    half = frames // 2
    return {"rename": (["name=1:Anna"], set()), "exclude": (["exclude=1"], {1}), "split": ([f"split=1@{half}"], {1, 3}),
            "swap": ([f"swap=1,2@{half}"], {1, 2}), "swap late": ([f"swap=1,2@{frames - 6}"], {1, 2})}  # fmt: skip


def measured(job: str, home: Path, wanted: dict[str, tuple[list[str], set[int]]]) -> dict:
    """Each of the corrections `wanted`, made of one job that has none."""
    folder = home / "jobs" / job
    kept, out = home / "kept", {}
    timed(job, [], home)
    _, _, before = timed(job, [], home)
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(folder / PIECES, kept)
    for name, (edits, named) in wanted.items():
        walls, cpus = [], []
        for _ in range(ROUNDS):
            shutil.rmtree(folder / PIECES)
            shutil.copytree(kept, folder / PIECES)
            wall, cpu, fast = timed(job, edits, home)
            walls.append(wall)
            cpus.append(cpu)
        again, _, _ = timed(job, edits, home)
        shutil.rmtree(folder / PIECES)
        full, full_cpu, anew = timed(job, edits, home)
        others = {m.track for m in before.motions} - named
        out[name] = {"s": round(float(np.median(walls)), 2), "cpu_s": round(float(np.median(cpus)), 2),
                     "again_s": round(again, 2), "full_s": round(full, 2), "full_cpu_s": round(full_cpu, 2),
                     "moved_mm": round(moved(fast, anew), 4),
                     "others_mm": round(moved(fast, before, others), 4)}  # fmt: skip
    return out


def main() -> None:
    """See the module."""
    p = report.parser(__doc__)
    p.add_argument("--lengths", type=int, nargs="*", default=[40, 150], help="frames of the clips")
    p.add_argument("--localizer", default="field")
    args = p.parse_args()
    give_way()
    with TemporaryDirectory() as name:
        home = Path(name)
        os.environ["BODYFIELD_HOME"] = name
        options = MocapOptions(args.localizer, max_people=2, keep_features=False)
        seen = run_clip(CLIP, options, lambda event: None, home)
        chunks, store, figures = seen.folder.load_chunks(), JobStore(home), {}
        for frames in args.lengths:
            rng = np.random.default_rng(args.seed)
            whole = chunks if frames <= chunks[-1].last + 1 else lengthened(chunks, frames, rng)
            found = measured(job_of(store, seen.folder, whole), home, cases(frames))
            lost = job_of(store, seen.folder, parted(whole, frames // 2))
            found |= measured(lost, home, {"merge": (["merge=1,3"], {1, 3})})
            figures[f"{frames} frames, {len(seen.motions)} people"] = found
    report.finish({"rounds": ROUNDS, "corrections": figures}, args.json)


if __name__ == "__main__":
    main()
