"""Somebody walks before a camera that is carried about: his way in the world, the camera's, and how long it is.

    python -m bench.walking --motion CMU --backgrounds HDR --videos VIDEO [VIDEO ...] --films 10 --json out.json

Rendered people with captured motions (CMU: `cmu_30fps.npz`) in rooms with depth, from picture to motion; see
`bench.camera` for HDR and VIDEO. Per film: error of the camera's turn (degrees), of its place (per cent of its way) and
of the hips' way in the world (per cent of its length, largest; `sized`: if his size were known), the same with a still
camera assumed, with one that only turns and with the true one given, which leaves the errors of the body alone, and
what was said. The lens is given; `--guess` leaves it open.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from backend.body.load import load_body
from backend.camera.moving.sight import turned, vectors
from backend.fit.track import exhaust
from backend.localizers.choose import native_of
from backend.motion import finish as end
from backend.motion.assemble import Clip
from backend.motion.finish import Finished
from backend.options import MocapOptions
from backend.records import Chunk
from bench.camera_parts import walks
from bench.camera_parts.acted import Acted, film
from bench.camera_parts.worlds import panorama
from bench.noted import noted
from bench.people_parts.crowd import Studio
from bench.report import finish, parser


def ended(chunks: list[Chunk], options: MocapOptions) -> tuple[Finished, float]:
    """The end of the job, and its seconds."""
    body = load_body()
    clip = Clip(body, native_of(options.localizer, body), options)
    for chunk in chunks:
        clip.add(chunk)
    start = time.perf_counter()
    out = exhaust(end.finish(clip, {int(i) for i in chunks[-1].memory.get("ghosts", ())}))
    return out, time.perf_counter() - start


def judged(acted: Acted, found: Finished) -> dict:
    """Figures of one end."""
    if not found.motions:
        return {"found": False}
    motion = max(found.motions, key=lambda m: len(m.frames))
    shot = found.shots[0]
    turns = turned(shot.turns.astype(float)) if shot.moving else np.tile(np.eye(3), (len(acted.times), 1, 1))
    off = np.degrees(np.linalg.norm(vectors(turns @ acted.turns.transpose(0, 2, 1)), axis=1))
    way = np.linalg.norm(np.diff(acted.places, axis=0), axis=1).sum()
    true, mine = acted.joints[motion.frames, 0], motion.joints[:, 0].astype(float)
    length = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    drift = (mine - mine[0]) - (true - true[0])
    # As large as he was taken to be: the size of a person is not told by one camera.
    bones = [
        np.linalg.norm(j[:, [1, 4]] - j[:, [4, 7]], axis=-1).mean() for j in (motion.joints, acted.joints)
    ]
    size = bones[0] / bones[1]
    sized = (mine - mine[0]) / size - (true - true[0])
    places = shot.places.astype(float)
    s = (places * acted.places).sum() / max((places**2).sum(), 1e-9)
    return {
        "found": True,
        "turn_deg": round(float(off.mean()), 3),
        "turn_worst_deg": round(float(off.max()), 3),
        "place_percent": round(100 * float(np.linalg.norm(places - acted.places, axis=1).max() / way), 1),
        "length_off_percent": round(100 * (1 / s - 1), 1) if s else None,
        "size_off_percent": round(100 * float(size - 1), 1),
        "root_percent": round(100 * float(np.linalg.norm(drift, axis=1).max() / length), 1),
        "root_sized_percent": round(100 * float(np.linalg.norm(sized, axis=1).max() / length), 1),
        "way_m": round(float(length), 2),
        "said": shot.note,
    }


def main() -> None:
    """See the module."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--motion", type=Path, required=True, help="cmu_30fps.npz")
    p.add_argument("--backgrounds", type=Path, required=True, help="folder of .hdr panoramas")
    p.add_argument(
        "--videos", type=Path, nargs="+", required=True, help="clips from cameras that stand still"
    )
    p.add_argument("--films", type=int, default=10)
    p.add_argument(
        "--split", default="held-out", choices=("train", "held-out"), help="of performers and things"
    )
    p.add_argument("--guess", action="store_true", help="do not give the lens")
    p.add_argument("--localizer", default="field")
    options = p.parse_args()
    from backend.synth.backgrounds import still

    studio = Studio(load_body(), options.motion, options.split)
    empty = [np.ascontiguousarray(e[..., ::-1]) for v in options.videos if (e := still(v)) is not None]
    files = sorted(options.backgrounds.glob("*.hdr"))
    rows = []
    for number in range(options.films):
        rng = np.random.default_rng([options.seed, number])
        grain = empty[int(rng.integers(len(empty)))]
        look = panorama(files[int(rng.integers(len(files)))], grain)
        kind = walks.KINDS[number % len(walks.KINDS)]
        acted = film(studio, kind, look, rng)
        known = None if options.guess else float(acted.camera.K[0, 0])
        o = MocapOptions(focal_px=known, device="cpu", keep_features=False, localizer=options.localizer)
        chunks = noted(acted.images, acted.times, o)[0]
        if not chunks:
            rows.append({"kind": kind, "found": False})
            continue
        found, spent = ended(chunks, o)
        row = {"kind": kind} | judged(acted, found) | {"end_s": round(spent, 1), "frames": len(acted.times)}
        for name in ("still", "turns", "given"):
            rival = judged(acted, _otherwise(chunks, o, name, acted))
            row |= {f"{name}_{k}": rival[k] for k in ("turn_deg", "root_percent") if k in rival}
        print(row, flush=True)
        rows.append(row)
    good = [r for r in rows if r.get("found")]
    middle = lambda key: float(np.median([r[key] for r in good])) if good else None  # noqa: E731
    finish(
        {
            "rows": rows,
            "films": len(rows),
            "found": len(good),
            "turn_within_1_deg": sum(r["turn_worst_deg"] <= 1 for r in good),
            "root_within_3_percent": sum(r["root_percent"] <= 3 for r in good),
            "root_sized_within_3_percent": sum(r["root_sized_percent"] <= 3 for r in good),
            "root_percent_median": middle("root_percent"),
            "root_sized_percent_median": middle("root_sized_percent"),
            "still_root_percent_median": middle("still_root_percent"),
            "turns_root_percent_median": middle("turns_root_percent"),
            "given_root_percent_median": middle("given_root_percent"),
        },
        options.json,
    )


def _otherwise(chunks: list[Chunk], options: MocapOptions, camera: str, acted: Acted) -> Finished:
    """The end with another camera: one that stands `still`, one that `turns` only, or the true one, `given`."""
    if camera == "still":
        return ended(chunks, replace(options, camera="still"))[0]
    if camera == "given":
        rows = np.column_stack([np.arange(len(acted.times)), vectors(acted.turns), acted.places,
                                np.full(len(acted.times), acted.camera.K[0, 0])])  # fmt: skip
        return ended(chunks, replace(options, camera_path=rows.tolist()))[0]
    solved = end.solve_path

    def only_turns(*args, **kwargs):
        path = solved(*args, **kwargs)
        return replace(path, places=np.zeros_like(path.places), walks=False)

    end.solve_path = only_turns
    try:
        return ended(chunks, options)[0]
    finally:
        end.solve_path = solved


cv2.setNumThreads(1)
if __name__ == "__main__":
    main()
