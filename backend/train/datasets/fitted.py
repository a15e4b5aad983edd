"""Datasets of bodies: people given by the parameters of a licensed body, of whom every canonical point is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.model import BodyTensors
from backend.errors import JobError
from backend.train.datasets.carried import Carried
from backend.train.datasets.record import Photo, Record, box_about, example_of
from backend.train.streams.augment import PLAIN, Looks
from backend.train.streams.batch import Batch, collate
from backend.train.streams.framing import STILL, Shake
from backend.train.streams.points import PointPool

_TRIES = 20
_LEAST_SEEN = 6
"""Landmarks that must lie in the picture: of others there is nothing to be learnt."""
_TALL = 1.7


@dataclass(frozen=True, eq=False)
class Fitted:
    """A person in a picture: x -> R x + t leads from the space of the body's vertices to the camera's."""

    photo: Photo
    """The picture."""
    K: np.ndarray
    """(3, 3) pixels."""
    gender: str
    """Of the licensed body: neutral, male or female."""
    pose: np.ndarray
    """(55, 3) rotation vectors in SMPL-X's order."""
    betas: np.ndarray
    """(k,) shape of the licensed body."""
    trans: np.ndarray
    """(3,) metres, as the body model adds it."""
    R: np.ndarray
    """(3, 3) rotation."""
    t: np.ndarray
    """(3,) metres."""
    expression: np.ndarray | None = None
    """(k,), if known."""
    mean_hands: bool = False
    """Whether fingers are relative to the licensed file's mean hands, not to flat ones."""


class People(Protocol):
    """A dataset of bodies, opened. `model`: "smpl" or "smplx"."""

    model: str

    def __len__(self) -> int: ...

    def person(self, i: int) -> Fitted:
        """Number `i` of `len(self)`."""
        ...


class FittedStream:
    """`people`: a dataset; `carried`: the pool's points on its bodies; others as of the synthetic stream."""

    def __init__(
        self,
        people: People,
        carried: Carried,
        pool: PointPool,
        name: str,
        *,
        points: int = 192,
        inside: float = 0.3,
        shake: Shake = STILL,
        looks: Looks = PLAIN,
        seed: int = 0,
    ) -> None:
        self.people, self.carried, self.pool, self.name = people, carried, pool, name
        self.points, self.inside, self.seed = points, inside, seed
        self.shake, self.looks = shake, looks
        self._kept: dict[str, BodyTensors] = {}

    def batch(self, index: int, size: int) -> Batch:
        """See `Stream.batch`: people are drawn with replacement; those outside their picture are passed over."""
        rng = np.random.default_rng((self.seed, index))
        rows = self.pool.draw(rng, self.points, self.inside)
        positions = self.pool.points.positions[rows]
        examples = []
        while len(examples) < size:
            record = self._seen(rng, rows, positions)
            examples.append(example_of(record, rng, self.shake, self.looks))
        return collate(examples, positions, 0, self.name)

    def record(self, person: Fitted, rows: np.ndarray, positions: np.ndarray) -> Record:
        """One person, with the places of the pool's `rows`; the first of them are the pool's fixed ones."""
        x = self.places(person, rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = np.where(x[:, 2:] > 1e-6, x @ person.K.T / x[:, 2:], np.nan)[:, :2]
        known = np.isfinite(xy).all(-1)
        landmarks = xy[self.pool.landmarks]
        return Record(
            person.photo, box_about(landmarks), positions, xy, known, x, np.ones(len(x), bool), person.K,
            landmarks=landmarks,
        )  # fmt: skip

    def places(self, person: Fitted, rows: np.ndarray) -> np.ndarray:
        """(P, 3) metres, camera space, of the pool's `rows`."""
        licensed = self.carried.licensed(person.gender)
        body, pose = licensed.body, np.asarray(person.pose, np.float64)
        if person.mean_hands:
            pose = np.concatenate([pose[:25], pose[25:] + licensed.hands])
        points = self.carried.points(person.gender).take(rows)
        batch = lambda a, most: torch.from_numpy(np.asarray(a, np.float32)[:most])[None]  # noqa: E731
        expression = person.expression
        posed = forward(
            self._tensors(person.gender), batch(pose, None), batch(person.betas, body.n_betas),
            # Far from the origin float32 loses the millimetres: the place is added in float64.
            torch.zeros(1, 3), None if expression is None else batch(expression, body.n_expressions), points,
        )  # fmt: skip
        assert posed.points is not None
        x = posed.points[0].double().numpy() + np.asarray(person.trans, np.float64)
        return x @ person.R.T + person.t

    def _tensors(self, gender: str) -> BodyTensors:
        if gender not in self._kept:
            self._kept[gender] = self.carried.licensed(gender).body.to()
        return self._kept[gender]

    def _seen(self, rng: np.random.Generator, rows: np.ndarray, positions: np.ndarray) -> Record:
        for _ in range(_TRIES):
            record = self.record(self.people.person(int(rng.integers(len(self.people)))), rows, positions)
            # The pictures' sizes are not read for this: the principal point lies in the middle.
            width, height = 2 * record.K[0, 2], 2 * record.K[1, 2]
            xy = record.landmarks
            inside = ((xy >= 0) & (xy < [width, height])).all(-1)
            if np.isfinite(xy).all() and inside.sum() >= _LEAST_SEEN:
                return record
        raise JobError(
            "bad_data", f"Of {_TRIES} people of {self.name} none is in its picture: check its camera files."
        )


def apparent(f: float, z: float) -> float:
    """About how many pixels high a person stands in a picture of focal length `f` pixels at `z` metres."""
    return _TALL * f / z if z > 0.1 else 0.0
