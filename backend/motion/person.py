"""Somebody in a shot on the way to a motion: bodies frame by frame, and tied in time by what the network expects.

What was solved before is taken as it was (`kept`). Whoever the user's corrections made of several begins with the
bodies that their frames had: they are solved on, not from nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from backend.fit.camerafitter import Done, Fitter
from backend.fit.helps import Habit, Help
from backend.fit.solver.observe import Data
from backend.fit.solver.skin import State
from backend.fit.solver.timing import is_hole
from backend.fit.track import Tie
from backend.fit.view import View
from backend.jobs.pieces import digest
from backend.motion.expectation import expectation
from backend.motion.ground import common_up
from backend.motion.kept import basis, kept_state, kept_value, of_track
from backend.motion.level import up_direction
from backend.motion.reason import Misfit, best_misfit, misfit
from backend.motion.stride import pace
from backend.motion.take import Take
from backend.motion.temporal.model import Expected
from backend.motion.touch import touching_points
from backend.records import TrackChunk

T = TypeVar("T")
NEWS_S = 0.12
"""Seconds for which the temporal network's errors are alike as the data's are: what it expects counts by frame like
the data, and no more than they do."""
HABIT = 0.5
"""Weight of what is expected beside what is seen."""
WAY_S = 0.3
"""Seconds for which the errors of the expected velocity are alike."""
RATE = 3.0
"""How much more the motion is smoothed than the solver's own ties would, at `smooth` 1."""
LEVEL = np.cos(np.deg2rad(15))
"""Cosine of the most that a floor which is seen may be tilted for what people's ways say."""
_SOLES = 4
"""Of the points that may touch something, the first ones are of the feet."""
ROOT = (2.0, 6.0, 2.0)
"""m^2/s^3 of the root across, up, across."""


@dataclass
class Person:
    """One person on the way to a motion."""

    number: int
    """Of the track among all."""
    track: TrackChunk
    """What was seen."""
    done: Done
    """How much of the work is done."""
    obs: Data
    """The same as the solver reads it."""
    alone: State
    """The bodies of the frames by themselves, in the space of each frame's camera."""
    name: str
    """Of what the bodies so far were made of."""
    plausible: bool = True
    """Whether it is a person at all; nothing of what follows is known of others."""
    state: State | None = None
    """The bodies so far."""
    expected: Expected | None = None
    """What the temporal network says."""
    view: View | None = None
    """The camera of each frame, where it moves: then bodies and what is expected are in the shot's space."""

    @property
    def seen_size(self) -> float:
        """How large and how long the person is seen."""
        return float(np.sqrt(self.track.boxes[:, 2:].prod(1).mean()) * len(self.track.frames))


@dataclass
class Everybody:
    """The people of a shot."""

    people: list[Person]
    """As they are corrected."""
    followed: list[Person]
    """As they were before any correction. Whom none has touched is the same."""
    excluded: list[Person]
    """Whom the user does not want."""


def everybody(take: Take, tracks: Sequence[TrackChunk], counts: list[int]) -> Generator[int, None, Everybody]:
    """`tracks`, those who were followed, and those who were excluded, to their first tie; `counts`: see `counted`.

    What they say together of the camera's way is said by those who were followed, whatever was corrected.
    """
    names = [of_track(t) for t in tracks]
    followed = {of_track(t): t for t in take.followed}
    before: dict[str, Person] = {}
    if set(followed) != set(names):
        for name, track in followed.items():
            k = names.index(name) if name in names else None
            before[name] = yield from _looked_at(take, track, counts, k)
    some, all_of_them = list(before.values()), dict(before)
    for k, track in [*enumerate(tracks), *((None, t) for t in take.excluded)]:
        name = of_track(track)
        if name not in all_of_them:
            all_of_them[name] = yield from _looked_at(take, track, counts, k, start_of(track, some))
    witnesses = [p for p in (some or [all_of_them[n] for n in names]) if p.plausible]
    pace(take, [(p.track, touching(take, p.alone)[:, :_SOLES]) for p in witnesses])
    for person in all_of_them.values():
        k = names.index(of_track(person.track)) if of_track(person.track) in names else None
        yield from _in_time(take, person, counts, k)
    people = [
        replace(all_of_them[name], number=k, track=track)
        for k, (name, track) in enumerate(zip(names, tracks, strict=True))
    ]
    return Everybody(people, some or people, [all_of_them[of_track(t)] for t in take.excluded])


def start_of(track: TrackChunk, before: Sequence[Person]) -> tuple[State, np.ndarray] | None:
    """Bodies of the frames of `track` as they were found in those of which it was made, and (n,) bool which are
    known; None where none are."""
    mine, theirs = _rows(track), [_rows(p.track) for p in before]
    where = {int(row): at for at, row in enumerate(np.concatenate(theirs)) if row >= 0} if theirs else {}
    at = np.array([where.get(int(row), -1) for row in mine])
    if (at < 0).all():
        return None
    whole = State.concat([p.alone for p in before])
    return whole.take(torch.from_numpy(at.clip(0)).to(whole.root.device)), at >= 0


def _rows(track: TrackChunk) -> np.ndarray:
    """(n,) int64 which row of all that was followed each is; -1 where nobody was seen."""
    seen = np.isfinite(track.points2d).all((1, 2))
    return np.where(seen, (track.source.astype(np.int64) << 32) + track.frames, -1)


def counted(steps: Generator[int, None, T], counts: list[int], k: int | None) -> Generator[int, None, T]:
    """`steps`, which say how many frames of track `k` are done (None: of one that is in `counts` no more), as how many
    of all tracks' are."""
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return end.value
        if k is not None:
            counts[k] = max(counts[k], done)
        yield sum(counts)


def _looked_at(
    take: Take,
    track: TrackChunk,
    counts: list[int],
    k: int | None,
    start: tuple[State, np.ndarray] | None = None,
) -> Generator[int, None, Person]:
    fitter = take.fitter
    obs = fitter.observations(track.points3d, track.points2d, track.uncertainty, track.times)
    done = Done(len(track.frames), True, 3, 2)
    name = digest(basis(fitter, take.points), of_track(track))
    steps = partial(fitter.alone, obs, done)
    if start is not None:
        name = digest(name, *(part.cpu().numpy() for part in start[0].parts), start[1])
        steps = partial(fitter.anew, obs, *start, done)
    alone = yield from counted(kept_state(take.pieces, name, steps, fitter.device), counts, k)
    person = Person(0 if k is None else k, track, done, obs, alone, name)
    person.plausible = _plausible(take, person)
    return person


def _in_time(take: Take, person: Person, counts: list[int], k: int | None) -> Generator[int, None, None]:
    """What is expected of somebody who is a person, the camera of each frame, and the first tie."""
    track = person.track
    if not person.plausible:
        if k is not None:
            counts[k] = len(track.frames)
        return
    held = take.held(track.frames)
    turns, places = (None, None) if held is None else (held.turns, held.places)
    person.expected = expectation(take.body, take.points, track, take.camera.K, turns, places)
    person.view = take.view(track.frames)
    person.state = person.alone if person.view is None else person.view.outward(person.alone)
    person.name = digest(person.name, turns, places, take.up, *strengths(take))
    if take.options.smooth > 0 and len(track.times) >= 3:
        steps = partial(_first_tie, take, person)
        person.state = yield from counted(
            kept_state(take.pieces, digest(person.name, "tied"), steps, take.fitter.device), counts, k
        )


def touching(take: Take, state: State) -> np.ndarray:
    """Points of bodies that may touch something, the soles first (n, q, 3); `body.touch` names them."""
    return take.fitter.places(touching_points(take.body), state)


def _plausible(take: Take, person: Person) -> bool:
    """Whether the points of somebody's track are those of a person, be it under another lens than one that is not
    sure; notes how far from it they are."""
    track = person.track
    found = misfit(take.fitter, track, take.fitter.places(take.points, person.alone))
    if not found.plausible and not take.lens_sure:
        best = lambda: np.array(astuple(best_misfit(take.fitter, take.points, track)))  # noqa: E731
        found = Misfit(*kept_value(take.pieces, digest(of_track(track), basis(take.fitter, take.points), "misfit"),
                                   best).tolist())  # fmt: skip
    take.misfits[track.track] = found
    return found.plausible


def strengths(take: Take) -> tuple[float, float, float]:
    """Smoothing of the body, of the root's way up and of its way across."""
    o = take.options
    return o.smooth, o.smooth if o.smooth_up is None else o.smooth_up, (
        o.smooth if o.smooth_across is None else o.smooth_across)  # fmt: skip


def tied_by(take: Take, person: Person, up: np.ndarray, helps: tuple[Help, ...], rounds: int) -> Tie:
    body, vertical, across = strengths(take)
    axes = torch.from_numpy(_level_axes(up).astype(np.float32))
    # The tie divides every density by the body's strength.
    root = [q * body / max(s, 1e-6) for q, s in zip(ROOT, (across, vertical, across), strict=True)]
    return take.fitter.tie(
        person.track.times,
        RATE * body,
        root=tuple(root),
        axes=axes,
        helps=helps,
        rounds=rounds,
        view=person.view,
    )


def _first_tie(take: Take, person: Person) -> Generator[int, None, State]:
    helps = (habit(take.fitter, person),) if person.expected is not None else ()
    up = person_up(take, [person])
    return take.fitter.tied(person.obs, person.state, tied_by(take, person, up, helps, 3), person.done)


def habit(fitter: Fitter, person: Person) -> Habit:
    e, times = person.expected, person.track.times
    assert e is not None
    dt = np.diff(times)
    share = min(1.0, float(np.median(dt)) / NEWS_S) if len(dt) else 1.0
    seen = np.isfinite(person.track.points3d).all((1, 2))
    precision = np.where(seen, HABIT, 1.0)[:, None] * 3 / e.rotation_sigma**2 * min(1.0, share * 4)
    speed = (e.velocity[1:] + e.velocity[:-1]) / 2
    sure = np.maximum((e.velocity_sigma[1:] + e.velocity_sigma[:-1]) / 2, 0.02)
    way = 3 / (sure * dt) ** 2 * np.minimum(1.0, dt / WAY_S) * ~is_hole(dt)

    def tensor(a: np.ndarray, *order: int) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(a.transpose(order)), dtype=torch.float32).to(
            fitter.device
        )

    steps = tensor(speed * dt[:, None], 1, 0)
    return Habit(tensor(e.rotations, 1, 2, 3, 0), tensor(precision, 1, 0), steps, tensor(way[:, None], 1, 0).expand(
        3, -1).contiguous())  # fmt: skip


def person_up(take: Take, people: Sequence[Person]) -> np.ndarray:
    """Which way is up, as the temporal network says; without it as upright people say."""
    known = [p.expected for p in people if p.expected is not None]
    if known:
        up = common_up([e.up for e in known], [e.up_sigma for e in known])
        # A floor that is seen is surer than what people's ways say, unless it is a ramp.
        return take.up if take.up is not None and take.up @ up > LEVEL else up
    joints = [take.fitter.model.chain(p.state)[2].permute(2, 0, 1).cpu().numpy() for p in people]
    steps = np.concatenate([np.diff(p.track.times) for p in people])
    frame_s = float(np.median(steps)) if len(steps) else 1 / 30
    return up_direction(joints, [np.zeros(j.shape[:2]) for j in joints], frame_s)


def _level_axes(up: np.ndarray) -> np.ndarray:
    """(3, 3) columns: across, up, across."""
    side = np.cross(up, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    return np.stack([side, up, np.cross(side, up)], 1)


__all__ = [
    "Everybody",
    "Person",
    "counted",
    "everybody",
    "habit",
    "person_up",
    "start_of",
    "strengths",
    "tied_by",
    "touching",
]
