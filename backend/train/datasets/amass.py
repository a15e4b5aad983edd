"""AMASS: folders of `*_poses.npz` as a source of motion for the synthetic renderer, and as a stream of its own.

    python -m backend.train.datasets.amass FOLDER OUT.npz [--fps 10]

Layout: AMASS' files (poses (n, 156) of SMPL-H, or (n, 165) of SMPL-X: rotation vectors, the first 22 joints are the
same in both; trans, betas, gender; mocap_framerate or mocap_frame_rate; z up). Files without poses (shape.npz,
*_stagei.npz) are passed over.

AMASS has no pictures. Its poses are put on the learnt body, with shapes, fingers, clothes, light and background of
`backend.synth`, and what is drawn is known exactly; AMASS' own shapes and fingers are not used. OUT.npz is a
motion file as `python -m backend.synth.shards --motion` takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer
from scipy.spatial.transform import Rotation

from backend.body.model import Body
from backend.errors import JobError
from backend.train.datasets.arrays import Npz
from backend.train.datasets.folders import every as all_of
from backend.train.datasets.folders import wrong
from backend.train.streams.augment import Looks
from backend.train.streams.framing import Shake
from backend.train.streams.points import PointPool
from backend.train.streams.synthetic import Rendered, SyntheticStream

FPS = 10.0
_JOINTS = 22
_WHAT = "AMASS"
_ENDLESS = 1 << 31
_UP = Rotation.from_rotvec([-np.pi / 2, 0, 0])
"""From AMASS' world (z up) to the renderer's (y up)."""


def clips(folder: Path, fps: float = FPS) -> Iterator[tuple[str, np.ndarray]]:
    """`<set>__<subfolder>__<file>` and (n, 22, 3) float32 rotation vectors, y up, of every file of motion below
    `folder`. JobError("bad_data") for a folder without any, or a damaged file."""
    found = False
    for file in all_of(list(folder.rglob("*.npz")), folder, _WHAT, "*.npz"):
        npz = Npz(file, "a motion of AMASS")
        if "poses" not in npz:
            continue
        found = True
        yield _name(file.relative_to(folder)), frames(npz, fps)
    if not found:
        raise wrong(_WHAT, folder, "none of its files holds poses")


def frames(npz: Npz, fps: float) -> np.ndarray:
    """(n, 22, 3) rotation vectors of one file, y up, about `fps` a second. JobError("bad_data")."""
    poses = npz.read("poses", None, None)
    key = next((k for k in ("mocap_framerate", "mocap_frame_rate") if k in npz), None)
    if key is None or poses.shape[1] < 3 * _JOINTS:
        raise npz.wrong("it holds no frame rate, or poses of fewer than 22 joints")
    rate = float(npz.read(key).ravel()[0])
    if not 0 < rate < 10_000:
        raise npz.wrong(f"its frame rate is {rate:g}")
    chosen = poses[:: max(1, round(rate / fps)), : 3 * _JOINTS].reshape(-1, _JOINTS, 3).astype(np.float64)
    if not len(chosen) or not np.isfinite(chosen).all():
        raise npz.wrong("its poses are empty or not finite")
    chosen[:, 0] = (_UP * Rotation.from_rotvec(chosen[:, 0])).as_rotvec()
    return chosen.astype(np.float32)


def _name(path: Path) -> str:
    parts = [p.replace("__", "_") for p in path.with_suffix("").parts]
    first, last = parts[0], parts[-1]
    middle = "_".join(parts[1:-1]) or first
    return f"{first}__{middle}__{last}"


class _Drawn:
    """Pictures that are drawn when they are asked for."""

    def __init__(self, folder: Path, body: Body, fps: float, seed: int) -> None:
        try:
            from backend.synth import World
        except ImportError as e:
            # Numba comes only with the extra "train".
            raise JobError(
                "bad_data", "Drawing AMASS' poses needs numba: install bodyfield with the extra train."
            ) from e
        from backend.synth.motion import Motion

        named = dict(clips(folder, fps))
        kinds = [n.split("__")[1] for n in named]
        weight = np.array([1 / kinds.count(k) for k in kinds])
        self._world, self._seed = World(body, None), seed
        self._world.motion = Motion(
            np.concatenate(list(named.values())), np.cumsum([0] + [len(c) for c in named.values()]), tuple(named),
            weight / weight.sum(),
        )  # fmt: skip

    def __len__(self) -> int:
        return _ENDLESS

    def picture(self, i: int) -> Rendered:
        """See `Pictures.picture`."""
        from backend.synth import FRAMINGS, draw

        drawn = draw(np.random.default_rng([self._seed, i]), self._world, framing=FRAMINGS["wide"])
        p = drawn.person
        return Rendered(drawn.image, drawn.K, p.pose, p.betas, p.expression, p.trans)


def amass_stream(
    folder: Path, body: Body, pool: PointPool, name: str, *, points: int, inside: float, shake: Shake, looks: Looks,
    seed: int, every: int = 1,
) -> SyntheticStream:  # fmt: skip
    """People in AMASS' poses, drawn while training, about 30 a second and core. `every`: takes one frame of so many at
    10 a second."""
    drawn = _Drawn(folder, body, FPS / every, seed)
    stream = SyntheticStream(
        drawn, body, pool, points=points, inside=inside, shake=shake, looks=looks, seed=seed
    )
    stream.name = name
    return stream


def main(folder: Path, out: Path, fps: float = FPS) -> None:
    """Gather AMASS' motions into one file of motion."""
    try:
        arrays = {name: c.reshape(len(c), -1).astype(np.float16) for name, c in clips(folder, fps)}
    except JobError as e:
        raise SystemExit(str(e)) from e
    np.savez_compressed(out, **arrays)
    print(f"{len(arrays)} clips, {sum(len(a) for a in arrays.values())} frames")


if __name__ == "__main__":
    typer.run(main)
