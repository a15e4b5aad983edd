"""Bodies for the tests: the shipped one, and a synthetic file in exact SMPL-X layout (random, no SMPL-X data)."""

from __future__ import annotations

import numpy as np
import pytest

from backend.body import N_JOINTS, PARENTS, load_body

V = 10_000
"""The oracle picks vertices up to number 9929 for its extra joints."""


def synthetic_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """A blob with the 55 joints, 300 + 100 directions and random pose correctives of an SMPL-X file."""
    rng = np.random.default_rng(seed)
    joints = rng.normal(0, 0.3, (N_JOINTS, 3))
    owner = rng.integers(0, N_JOINTS, V)
    owner[:N_JOINTS] = np.arange(N_JOINTS)
    v = joints[owner] + rng.normal(0, 0.05, (V, 3))
    weights = np.zeros((V, N_JOINTS))
    weights[np.arange(V), owner] = 0.75
    weights[np.arange(V), np.maximum(PARENTS[owner], 0)] += 0.25
    regressor = np.zeros((N_JOINTS, V))
    for j in range(N_JOINTS):
        mine = np.flatnonzero(owner == j)[:30]
        share = rng.normal(1, 0.5, len(mine))
        regressor[j, mine] = share / share.sum()
    faces = rng.integers(0, V, (500, 3))
    return {
        "v_template": v,
        "f": faces.astype(np.uint32),
        "weights": weights,
        "shapedirs": rng.normal(0, 0.01, (V, 3, 400)).astype(np.float32),
        "posedirs": rng.normal(0, 0.002, (V, 3, 486)).astype(np.float32),
        "J_regressor": regressor,
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(N_JOINTS)], np.uint32),
        "vt": rng.random((700, 2)),
        "ft": rng.integers(0, 700, (500, 3)).astype(np.uint32),
        "hands_meanl": rng.normal(0, 0.1, 45),
        "hands_meanr": rng.normal(0, 0.1, 45),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
        "lmk_faces_idx": np.zeros(51, np.int64),
        "lmk_bary_coords": np.tile([1.0, 0, 0], (51, 1)),
        "dynamic_lmk_faces_idx": np.zeros((79, 17), np.int64),
        "dynamic_lmk_bary_coords": np.tile([1.0, 0, 0], (79, 17, 1)),
        # Real files hold pickled dictionaries; the loader must neither need nor touch them.
        "joint2num": np.array({"pelvis": 0}, dtype=object),
    }


@pytest.fixture(scope="session")
def open_body():
    return load_body()


@pytest.fixture(scope="session")
def synthetic_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("body") / "SMPLX_NEUTRAL.npz"
    np.savez(path, **synthetic_arrays())
    return path
