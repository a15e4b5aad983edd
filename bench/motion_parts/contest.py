"""The contest: every contestant on every clip, means over clips, and rivals at the jerk of ours."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.records import TrackMotion
from bench.motion_parts.clips import Take
from bench.motion_parts.contestants import OFF, filtered, one_euro, ours, raw, savitzky_golay
from bench.motion_parts.feet import Sole
from bench.motion_parts.measures import compared, floor_of, judged, true_world

SWEEP = {
    "one-euro": {f"{c:g} Hz": one_euro(c, 0.7 * c) for c in (0.05, 0.1, 0.2, 0.4, 0.8)},
    "savitzky-golay": {f"{w:g} s": savitzky_golay(w) for w in (0.25, 0.4, 0.65, 1.0, 1.5)},
}
"""Strengths that are tried: least cutoff, and length of the window."""
USUAL = {"one-euro": "0.2 Hz", "savitzky-golay": "0.4 s"}
"""Those that are shown: stronger ones cost exactness (on six clips of seed 100 joints are 80 mm off with One-Euro at
0.15 to 0.6 Hz, with Savitzky-Golay over 0.4 s and frame by frame alike)."""
LEFT_OUT = ("panning",)
"""Settings that count in no mean but their own: the world is not known there."""
CHILD = """
import pickle, sys
from backend.body.load import load_body
from backend.body.native import native_points
from backend.motion.assemble import Clip, assemble, stand_upright
from backend.motion.chunks import person_tracks
from backend.options import MocapOptions
from backend.records import Chunk
body = load_body()
clips = pickle.load(open(sys.argv[1], "rb"))
out = []
for fov, arrays in clips:
    clip = Clip(body, native_points(body, 64), MocapOptions(device="cpu", fov_deg=fov))
    clip.add(Chunk.from_arrays(arrays))
    motions = []
    try:
        from backend.motion.solve import solve
        steps = solve(clip, person_tracks(clip.chunks))
        while True:
            next(steps)
    except StopIteration as end:
        motions = end.value
    except ImportError:
        for track in person_tracks(clip.chunks):
            steps = assemble(clip, track)
            try:
                while True:
                    next(steps)
            except StopIteration as end:
                motions += [] if end.value is None else [end.value]
        stand_upright(motions)
    out.append([m.to_file() for m in motions])
pickle.dump(out, open(sys.argv[2], "wb"))
"""


def older(checkout: Path, clips: Sequence[Take]) -> list[list[TrackMotion]]:
    """What an older checkout makes of the same localizations, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "in.pickle", Path(folder) / "out.pickle"
        given.write_bytes(pickle.dumps([(t.fov_deg, t.chunk().to_arrays()) for t in clips]))
        subprocess.run([sys.executable, "-c", CHILD, str(given), str(made)], cwd=checkout, check=True)
        # Written by our own child a moment ago.
        return [[TrackMotion.from_file(m) for m in motions] for motions in pickle.loads(made.read_bytes())]


def contest(clips: Iterable[Take], body: Body, points: CanonicalPoints, before: Path | None) -> dict:
    """All figures; see `table`."""
    sole = Sole.of(body)
    scores: dict[str, list[dict]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    clips = list(clips)
    frames = sum(len(a.track.frames) for t in clips for a in t.actors)
    if before is not None:
        start = time.perf_counter()
        for take, motions in zip(clips, older(before, clips), strict=True):
            scores["before"] += rows(take, motions, body, sole)
        seconds["before"] = time.perf_counter() - start
    for take in clips:
        chunk, fov = take.chunk(), {"fov_deg": take.fov_deg}
        scores["truth"] += [_row(take, a, _perfect(take, a, sole)) for a in take.actors]
        start = time.perf_counter()
        scores["ours"] += rows(take, ours(body, points, chunk, **fov), body, sole)
        seconds["ours"] += time.perf_counter() - start
        if before is None:
            scores["before"] += rows(take, ours(body, points, chunk, **fov, **OFF), body, sole)
        fits = raw(body, points, chunk, **fov)
        scores["frame by frame"] += rows(take, fits, body, sole)
        for rival, strengths in SWEEP.items():
            for name, filt in strengths.items():
                scores[f"{rival} {name}"] += rows(take, filtered(fits, filt, body, sole), body, sole)
        print(f"{take.name} {take.kind}, {take.setting}: done", file=sys.stderr, flush=True)
    means = {who: grouped(r) for who, r in scores.items()}
    return {"clips": len(clips), "frames": frames, "means": means, "at_equal_jerk": equal_jerk(means),
            "ms_a_frame": {k: 1000 * v / max(frames, 1) for k, v in seconds.items()}}  # fmt: skip


def rows(take: Take, motions: Sequence[TrackMotion], body: Body, sole: Sole) -> list[dict]:
    """The scores of everybody in a clip; somebody of whom there is no motion scores NaN."""
    found = {m.track: m for m in motions}
    if not found:
        return [_row(take, a, {"frames_share": 0.0}) for a in take.actors]
    floor = floor_of(motions, body, sole)
    out = []
    for a in take.actors:
        m = found.get(a.track.track)
        out.append(
            _row(take, a, {"frames_share": 0.0} if m is None else judged(take, a, m, body, sole, floor))
        )
    return out


def _perfect(take: Take, a, sole: Sole) -> dict:
    """The truth by the same measures: motion capture itself slides and trembles."""
    w = true_world(a, np.arange(len(take.times)))
    return compared(w, w, a.contacts, a.contacts, take.times, take.floor_ok, sole)


def _row(take: Take, a, scores: dict) -> dict:
    return {"clip": take.name, "kind": take.kind, "setting": take.setting, **scores}


def grouped(rows: Sequence[dict]) -> dict[str, dict[str, float]]:
    """Means over clips: of all, of each kind of movement and of each setting."""
    still = [r for r in rows if r["setting"] not in LEFT_OUT]
    out = {"all": mean(still)}
    for kind in dict.fromkeys(r["kind"] for r in still):
        out[kind] = mean([r for r in still if r["kind"] == kind])
    for setting in dict.fromkeys(r["setting"] for r in rows):
        out[setting] = mean([r for r in rows if r["setting"] == setting])
    return out


def mean(rows: Sequence[dict]) -> dict[str, float]:
    """Means over people, those of a clip sharing its weight; NaN are left out."""
    clips: dict[str, list[dict]] = defaultdict(list)
    for r in rows:
        clips[r["clip"]].append(r)
    names = {n: None for r in rows for n, v in r.items() if isinstance(v, float)}
    out = {}
    for n in names:
        of = [[r[n] for r in some if np.isfinite(r.get(n, np.nan))] for some in clips.values()]
        of = [np.mean(v) for v in of if v]
        out[n] = float(np.mean(of)) if of else float("nan")
    return out


def equal_jerk(means: dict) -> dict[str, dict[str, float]]:
    """Each rival's errors at the strength at which its jerk is that of ours, between the two nearest strengths."""
    goal = means["ours"]["all"]["jerk_ratio"]
    out = {"ours": {"jerk_ratio": goal} | {n: means["ours"]["all"][n] for n in _COMPARED}}
    for rival, strengths in SWEEP.items():
        at = sorted((means[f"{rival} {s}"]["all"] for s in strengths), key=lambda m: m["jerk_ratio"])
        jerks = np.log([m["jerk_ratio"] for m in at])
        reached = float(np.exp(np.clip(np.log(goal), jerks[0], jerks[-1])))
        out[rival] = {"jerk_ratio": reached} | {
            n: float(np.interp(np.log(reached), jerks, [m[n] for m in at])) for n in _COMPARED
        }
    return out


_COMPARED = ("mpjpe_mm", "pa_mpjpe_mm", "world_mpjpe_mm", "slide_mm", "contact_f1", "acceleration_ms2")


def table(figures: dict) -> str:
    """Contestants across, measures down; then the rivals at equal jerk, and ours by kind."""
    means, shown = figures["means"], ["truth", "before", "ours"]
    shown += [f"{r} {USUAL[r]}" for r in SWEEP]
    shown.insert(3, "frame by frame")
    names = list(means["ours"]["all"])
    lines = ["", " " * 24 + "".join(f"{s:>22}" for s in shown)]
    lines += [f"{n:24}" + "".join(f"{means[s]['all'].get(n, np.nan):22.3g}" for s in shown) for n in names]
    equal = figures["at_equal_jerk"]
    lines += ["", "at equal jerk" + " " * 11 + "".join(f"{s:>22}" for s in equal)]
    lines += [f"{n:24}" + "".join(f"{equal[s][n]:22.3g}" for s in equal) for n in ("jerk_ratio", *_COMPARED)]
    some = ("contact_f1", "slide_mm", "root_drift_m_10m", "jerk_ratio", "mpjpe_mm", "world_mpjpe_mm", "in_floor_cm",
            "float_cm", "tilt_deg")  # fmt: skip
    for who in ("ours", "before"):
        lines += ["", f"{who:16}" + "".join(f"{n:>18}" for n in some)]
        lines += [
            f"{k:16}" + "".join(f"{m.get(n, np.nan):18.3g}" for n in some) for k, m in means[who].items()
        ]
    return "\n".join(lines)
