"""The user's licensed SMPL and SMPL-X files in a folder, as bodies in the layout of `backend.body`.

Names: the smplx package looks for `<folder>/smplx/SMPLX_NEUTRAL.npz`, `<folder>/smpl/SMPL_MALE.pkl` and so on; SMPL's
own download names its files `basicmodel_m_lbs_10_207_0_v1.1.0.pkl`. `backend.body.load` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from backend.body.load import load_body
from backend.body.model import Body
from backend.errors import JobError
from backend.train.datasets.arrays import Npz

BETAS = 16
GENDERS = ("neutral", "male", "female")
MODELS = ("smpl", "smplx")
_FILES = {
    "smplx": ("smplx/SMPLX_{G}.npz", "SMPLX_{G}.npz"),
    "smpl": (
        *("smpl/SMPL_{G}.pkl", "SMPL_{G}.pkl", "smpl/SMPL_{G}.npz", "SMPL_{G}.npz"),
        *("basicmodel_{g}_lbs_10_207_0_v1.1.0.pkl", "basicModel_{g}_lbs_10_207_0_v1.0.0.pkl"),
        *("smpl/basicmodel_{g}_lbs_10_207_0_v1.1.0.pkl", "smpl/basicModel_{g}_lbs_10_207_0_v1.0.0.pkl"),
    ),
}


@dataclass(frozen=True, eq=False)
class Licensed:
    """A licensed body."""

    body: Body
    """In the layout of 55 joints."""
    hands: np.ndarray
    """(30, 3) rotation vectors of the mean hands, which some datasets' hand poses are relative to; zero where
    unknown."""


@lru_cache(maxsize=8)
def licensed_body(folder: str, model: str, gender: str, wanted_by: str) -> Licensed:
    """The file of `model` ("smpl", "smplx") and `gender` in `folder`. `wanted_by`: the dataset, for the refusal.

    JobError("bad_body") when it is missing or is no such body.
    """
    short = {"neutral": "neutral", "male": "m", "female": "f"}[gender]
    names = [n.format(G=gender.upper(), g=short) for n in _FILES[model]]
    found = next((Path(folder) / n for n in names if (Path(folder) / n).is_file()), None)
    if not folder or found is None:
        raise JobError(
            "bad_body",
            f"{wanted_by} needs your own licensed {model.upper()} body: put {names[1]} into "
            f"{folder or 'a folder'} and name that folder as the source's body.",
        )
    body, hands = load_body(found, betas=BETAS, expressions=10), np.zeros((30, 3))
    if body.name != model:
        raise JobError(
            "bad_body", f"{found} holds a {body.name} body, not a {model} one: put the right file there."
        )
    if model == "smplx":
        npz = Npz(found, "a body")
        if "hands_meanl" in npz and "hands_meanr" in npz:
            hands = np.concatenate([npz.read(f"hands_mean{s}", 45).reshape(15, 3) for s in "lr"])
    return Licensed(body, hands)
