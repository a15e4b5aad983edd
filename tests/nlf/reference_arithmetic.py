"""The fixtures' fp16 weights of points, to the last bit: our field on the arithmetic that made them.

Those weights are float32 results cut to fp16, so the last bits of the machine decide which way half a percent of them
goes. Their machine added up products as MKL does for AVX2 in its reproducible mode; a process that starts in this mode
does the same on any x86 processor that allows it. Elsewhere (`prepared_as_the_fixtures` gives exact=False) a test has
to leave room for half a percent of the weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from backend.localizers.nlf.crop_model import mirror
from backend.localizers.nlf.head import PreparedPoints
from backend.localizers.nlf.pointnetwork import PointNetwork

from .golden_weights import golden, make_tensor

ROOT = Path(__file__).resolve().parents[2]
MODE = {"MKL_CBWR": "AVX2,STRICT", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
SETS = {"net_s": "s", "net_l": "l", "multiperson_s": "s"}
"""Archives with `points`, and the size of the network that looks for them."""
NAMES = ("weights", "biases", "mirrored_weights", "mirrored_biases")


@dataclass(frozen=True)
class Prepared:
    """`points`: as the fixtures had them; `exact`: whether that is proved by what the fixtures store of them."""

    points: PreparedPoints
    exact: bool


@cache
def prepared_as_the_fixtures(name: str) -> Prepared:
    """Points of the archive `name`, one of SETS."""
    arrays = {n: _in_that_mode()[f"{name}_{n}"] for n in NAMES}
    tensors = (torch.from_numpy(arrays[n]) for n in NAMES)
    return Prepared(PreparedPoints(torch.from_numpy(golden(name)["points"]), *tensors), _proved(SETS[name]))


def _proved(size: str) -> bool:
    stored, ours = golden(f"net_{size}"), {n: _in_that_mode()[f"net_{size}_{n}"] for n in NAMES}
    sel = stored["points_sel"]
    return all(
        np.array_equal(a, b)
        for a, b in (
            (ours["weights"][sel], stored["w_tensor_sub"]),
            (ours["mirrored_weights"][sel], stored["w_tensor_flipped_sub"]),
            (ours["biases"], stored["b_tensor"]),
            (ours["mirrored_biases"], stored["b_tensor_flipped"]),
        )
    )


@cache
def _in_that_mode() -> dict[str, np.ndarray]:
    """What `main` writes in a process of that mode: libraries choose their arithmetic when they are loaded."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "weights.npz"
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "nlf.reference_arithmetic", str(out)]
        subprocess.run(command, check=True, env=os.environ | MODE | {"PYTHONPATH": paths}, cwd=ROOT)
        with np.load(out, allow_pickle=False) as archive:
            return {k: archive[k] for k in archive.files}


@torch.no_grad()
def main(out: Path) -> None:
    arrays = {}
    for name, size in SETS.items():
        field = PointNetwork()
        state = field.state_dict()
        made = {
            k: make_tensor(f"heatmap_head.weight_field.{k}", tuple(v.shape), size) for k, v in state.items()
        }
        field.load_state_dict({k: torch.from_numpy(v) for k, v in made.items()})
        constants = golden(f"net_{size}")
        for buffer, short in ((field.r_sqrt_eigva, "r_sqrt_eigva"), *((getattr(field.gps_net, n), n) for n in
                                                                     ("mini", "maxi", "center"))):  # fmt: skip
            buffer.copy_(torch.from_numpy(constants[f"buf_{short}"]))
        points = torch.from_numpy(golden(name)["points"])
        results = (*field.weights(points), *field.weights(mirror(points)))
        arrays |= {f"{name}_{n}": x.half().numpy() for n, x in zip(NAMES, results, strict=True)}
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
