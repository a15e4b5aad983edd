"""Who is who in rendered crowds: HOTA, IDF1, switches and recall of our road, of ours without looks, and of rivals on
the same finds.

Usage: python -m bench.people --motion CMU.npz --rounds 2 --rival PYTHON_WITH_TRACKERS [--seed 0] [--json FILE]
Seed 0 is for judging; constants are chosen on seeds from 100 on, whose people and motions are others.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from backend.body.load import load_body
from backend.motion.rejoin import rejoined
from bench.people_parts import crowd as crowds
from bench.people_parts import figures
from bench.people_parts.road import rivals, scene, seen
from bench.report import finish, parser

SIZES = ((0.08, 0.15), (0.15, 0.3), (0.3, 0.6), (0.6, 2.0))
"""Heights, in heights of the frame, of which recall is told."""
GROUPS = {"2-3 people": ("pair", "alike", "pan"), "behind others and walls": ("behind", "wall"),
          "4 people": ("entries", "still"), "8 people": ("eight",)}  # fmt: skip


def film(
    studio: crowds.Studio | None, kind: str, seed: int, cache: Path | None, motion: Path
) -> crowds.Crowd:
    """One clip, from `cache` where it is there."""
    file = cache / f"{kind}_{seed}.npz" if cache else None
    if file and file.exists():
        with np.load(file) as d:
            actors = [crowds.Actor(*a) for a in zip(d["landmarks"], d["boxes"], d["visible"], strict=True)]
            return crowds.Crowd(f"{kind} {seed}", d["images"], d["times"],
                                crowds.Camera(d["K"], crowds.WIDTH, crowds.HEIGHT), actors)  # fmt: skip
    split = "held-out" if seed < 100 else "train"
    c = (studio or crowds.Studio(load_body(), motion, split)).film(kind, seed)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, images=c.images, times=c.times, K=c.camera.K,
                            **{n: np.stack([getattr(a, n) for a in c.actors])
                               for n in ("landmarks", "boxes", "visible")})  # fmt: skip
    return c


def judged(c: crowds.Crowd, tracks) -> dict:
    """Sums for one clip and one contestant."""
    whole = scene(c, tracks)
    visible = np.concatenate([a.visible for a in c.actors])
    tall = np.concatenate([a.boxes[:, 3] for a in c.actors]) / crowds.HEIGHT
    s = figures.cared(whole, visible >= figures.CARE)
    count, missed, false = figures.switches(s)
    found = figures.found_rows(whole)
    clear = visible >= 0.5
    recall = [[int(found[clear & (tall >= a) & (tall < b)].sum()), int((clear & (tall >= a) & (tall < b)).sum())]
              for a, b in SIZES]  # fmt: skip
    return {"idf1": figures.idf1(s), "switches": count, "missed": missed, "false": false,
            "hota": figures.hota(s).tolist(), "recall": recall}  # fmt: skip


def together(rows: list[dict]) -> dict:
    """Figures of many clips."""
    right, truth, found = np.sum([r["idf1"] for r in rows], 0)
    recall = np.sum([r["recall"] for r in rows], 0)
    return {"idf1": round(float(right / max(truth + found, 1)), 4),
            "hota_deta_assa": np.round(np.mean([r["hota"] for r in rows], 0), 3).tolist(),
            "switches": sum(r["switches"] for r in rows),
            "missed": round(sum(r["missed"] for r in rows) / max(truth, 1), 4),
            "false": round(sum(r["false"] for r in rows) / max(truth, 1), 4),
            "recall": {f"{a:g}-{b:g}": f"{k / max(n, 1):.3f} of {n}"
                       for (a, b), (k, n) in zip(SIZES, recall, strict=True)}}  # fmt: skip


def main() -> None:
    p = parser(__doc__ or "")
    p.add_argument("--motion", type=Path, required=True, help="cmu_30fps.npz")
    p.add_argument("--rounds", type=int, default=1, help="clips of each kind")
    p.add_argument("--kinds", default=",".join(crowds.KINDS), help="which of them")
    p.add_argument("--localizer", default="landmarks-lite")
    p.add_argument("--rival", type=Path, help="an interpreter with the package trackers")
    p.add_argument("--cache", type=Path, help="folder for rendered clips")
    args = p.parse_args()
    studio = None
    rows: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for n in range(args.rounds):
        for kind in args.kinds.split(","):
            seed = args.seed + n
            if studio is None and not (args.cache and (args.cache / f"{kind}_{seed}.npz").exists()):
                studio = crowds.Studio(load_body(), args.motion, "held-out" if args.seed < 100 else "train")
            c = film(studio, kind, seed, args.cache, args.motion)
            start = time.perf_counter()
            tracks, told, _ = seen(c, args.localizer)
            contestants = {"ours": rejoined(tracks), "ours, one pass": tracks}
            if args.rival:
                contestants |= rivals(c, tracks, args.rival)
            line = []
            for name, some in contestants.items():
                r = judged(c, some)
                rows[name][kind].append(r)
                line.append(f"{name}: IDF1 {r['idf1'][0] / max(r['idf1'][1] + r['idf1'][2], 1):.3f} "
                            f"switches {r['switches']} missed {r['missed']} false {r['false']}")  # fmt: skip
            print(f"{c.name} ({time.perf_counter() - start:.0f} s): " + "; ".join(line), *told, flush=True)
    out = {}
    for name, kinds in rows.items():
        groups = {g: [r for k in some for r in kinds.get(k, ())] for g, some in GROUPS.items()}
        out[name] = {g: together(some) for g, some in groups.items() if some}
        out[name]["all"] = together([r for some in kinds.values() for r in some])
    finish(
        {"localizer": args.localizer, "rounds": args.rounds, "seed": args.seed, "contestants": out}, args.json
    )


if __name__ == "__main__":
    main()
