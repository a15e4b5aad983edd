"""Processor time of the bodies of a job: the first motions of its chunks, and the final ones, each person and frame.

Each clip is localized once. Then the fit runs `--rounds` times in a process of its own with one thread, and the least
time counts: a shared machine only ever adds. `--old FOLDER` is a checkout of this project to compare with (`git
worktree add FOLDER COMMIT`; f1c20a6 is the last one before previews had a fit of their own); both take turns. Of both
the final joints are compared, in millimetres.

    python -m bench.fit_time CLIP [CLIP …] --localizer field --old FOLDER --json F
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from backend.batch.clip import open_video
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Chunk
from bench.report import finish, parser

FIT = """
import sys, time
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from backend.body.load import load_body
from backend.localizers.choose import create_localizer
from backend.localizers.contract import LocalizerOptions
from backend.motion.assemble import Clip
from backend.motion.chunks import person_tracks
from backend.options import MocapOptions
from backend.records import Chunk
files, localizer, out = sorted(Path(sys.argv[1]).glob("*.npz")), sys.argv[2], sys.argv[3]
chunks = []
for file in files:
    with np.load(file) as arrays:
        chunks.append(Chunk.from_arrays(arrays))
body, options = load_body(), MocapOptions(localizer=localizer)
native = create_localizer(localizer, body, LocalizerOptions("cpu")).native
def new():
    clip = Clip(body, native, options)
    for chunk in chunks:
        clip.add(chunk)
    clip.fitter
    return clip
clip, tracks = new(), person_tracks(chunks)
# The first fit pays for loading libraries.
clip.fit(tracks[0]), new().preview(chunks[0])
clip = new()
start = time.process_time()
seen = sum(len(m.frames) for chunk in chunks for m in clip.preview(chunk))
preview = time.process_time() - start
start = time.process_time()
fits = [clip.fit(t) for t in tracks]
final = time.process_time() - start
np.savez(out, preview=1e3 * preview / max(seen, 1), final=1e3 * final / sum(len(t.frames) for t in tracks),
         joints=np.concatenate([f.joints[:, :22] for f in fits]))
"""


def localized(clip: Path, localizer: str, most: int, folder: Path) -> int:
    """Save what the road finds in `clip`, a file for each chunk; how many chunks."""
    count = 0
    with open_video(clip) as video:
        events = mocap((f for f in video if f.index < most), MocapOptions(localizer=localizer))
        for event in events:
            if isinstance(event, Chunk):
                np.savez(folder / f"{count:05d}.npz", **event.to_arrays())
                count += 1
    return count


def fitted(root: Path, folder: Path, localizer: str) -> dict[str, np.ndarray]:
    """One round with the code in the checkout `root`."""
    out = folder.parent / "out.npz"
    command = [sys.executable, "-c", FIT, str(folder), localizer, str(out)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    ran = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["killed"])[-1]
        sys.exit(f"The fitter in {root} does not run: {last}.")
    with np.load(out) as f:
        return {k: f[k] for k in f.files}


def main() -> None:
    """Localize each clip once, fit in turns, print the times."""
    p = parser(__doc__.split("\n\n")[0])
    p.add_argument("clips", type=Path, nargs="+")
    p.add_argument("--old", type=Path, help="checkout of this project with the other fitter")
    p.add_argument("--localizer", default="field")
    p.add_argument("--frames", type=int, default=10_000, help="of each clip at most")
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    roots = {
        **({"before": args.old.resolve()} if args.old else {}),
        "after": Path(__file__).resolve().parents[1],
    }
    table = []
    for clip in args.clips:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "chunks"
            folder.mkdir()
            localized(clip, args.localizer, args.frames, folder)
            runs: dict[str, list] = {who: [] for who in roots}
            for _ in range(args.rounds):
                for who, root in roots.items():
                    runs[who].append(fitted(root, folder, args.localizer))
        row: dict = {
            "clip": f"{clip.parent.name}/{clip.name}",
            "person_frames": len(runs["after"][0]["joints"]),
        }
        for who, found in runs.items():
            row[who] = {
                f"{kind}_ms_per_person_frame": min(float(f[kind]) for f in found)
                for kind in ("preview", "final")
            }
        if args.old:
            off = 1e3 * np.linalg.norm(runs["after"][0]["joints"] - runs["before"][0]["joints"], axis=-1)
            row["joints_mm"] = {
                "mean": float(off.mean()),
                "p99": float(np.percentile(off, 99)),
                "max": float(off.max()),
            }
        table.append(row)
        print(row, file=sys.stderr)
    mean = {who: {k: float(np.mean([r[who][k] for r in table])) for k in table[0][who]} for who in roots}
    finish({"localizer": args.localizer, "clips": table, "mean": mean}, args.json)


if __name__ == "__main__":
    main()
