"""From everybody's tracks in a shot to their motions: bodies, the common floor, and feet that stay where they stand.

The whole end of a job. It looks at no picture, so that it can be done again with other options in seconds. Each person
is fitted frame by frame and tied in time by what the temporal network expects; then the contacts of all say where the
floor is; then each is tied once more, now with contacts that stay and nothing that sinks.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from backend.fit.camerafitter import Done, Fitter
from backend.fit.helps import Ground, Habit, Help
from backend.fit.solver.observe import Data
from backend.fit.solver.skin import SkinModel, State
from backend.fit.solver.timing import is_hole
from backend.fit.track import Tie
from backend.fit.view import View
from backend.motion.assemble import finished, stand_upright
from backend.motion.contacts import grip, judged, levels, lying, resting
from backend.motion.expectation import expectation
from backend.motion.ground import Floor, Standing, common_up, find_floor
from backend.motion.level import up_direction
from backend.motion.reason import best_misfit, misfit
from backend.motion.resize import resized, stature
from backend.motion.stride import pace
from backend.motion.take import Take
from backend.motion.temporal.model import Expected
from backend.motion.touch import touching_points
from backend.records import TrackChunk, TrackMotion
from blender_addon.shared.motion import CONTACTS

NEWS_S = 0.12
"""Seconds for which the temporal network's errors are alike as the data's are: what it expects counts by frame like
the data, and no more than they do."""
HABIT = 0.5
"""Weight of what is expected beside what is seen."""
WAY_S = 0.3
"""Seconds for which the errors of the expected velocity are alike."""
RATE = 3.0
"""How much more the motion is smoothed than the solver's own ties would, at `smooth` 1."""
ROOT = (2.0, 6.0, 2.0)
"""m^2/s^3 of the root across, up, across."""
STAND_M, SINK_M = 0.01, 0.01
"""One sigma of the height of what rests, and of what must not sink."""
LEVEL = np.cos(np.deg2rad(15))
"""Cosine of the most that a floor which is seen may be tilted for what people's ways say."""
LIE_M = 0.03
"""One sigma of the height of what somebody lies or sits on: skin gives way, and floors have cushions."""
CREEP = 0.025
"""m/s, one sigma of what rests. This and what stands above was chosen on simulated clips (`bench.motion`, seed 100)."""


@dataclass
class _Person:
    """One person on the way to a motion."""

    number: int
    """Of the track among all."""
    track: TrackChunk
    """What was seen."""
    done: Done
    """How much of the work is done."""
    obs: Data
    """The same as the solver reads it."""
    state: State
    """The bodies so far."""
    expected: Expected | None
    """What the temporal network says."""
    view: View | None
    """The camera of each frame, where it moves: then bodies and what is expected are in the shot's space."""

    @property
    def seen_size(self) -> float:
        """How large and how long the person is seen."""
        return float(np.sqrt(self.track.boxes[:, 2:].prod(1).mean()) * len(self.track.frames))


def solve(take: Take, tracks: Sequence[TrackChunk]) -> Generator[int, None, list[TrackMotion]]:
    """The final motions of those of `tracks` that are people, by `take.options`, in the shot's space.

    Yields, several times a second, how many of all tracks' frames are done, which rises to their number.
    """
    fitter, options = take.fitter, take.options
    alone: list[tuple[int, Done, Data, State]] = []
    counts = [0] * len(tracks)
    for k, track in enumerate(tracks):
        n = len(track.frames)
        obs = fitter.observations(track.points3d, track.points2d, track.uncertainty, track.times)
        done = Done(n, True, 3, 2)
        state = yield from _counted(fitter.alone(obs, done), counts, k)
        if _plausible(take, track, state):
            alone.append((k, done, obs, state))
        else:
            counts[k] = n
    if not alone:
        return []
    pace(take, [(tracks[k], _touching(take, state)[:, :4]) for k, _, _, state in alone])
    people: list[_Person] = []
    for k, done, obs, state in alone:
        person = _person(take, k, tracks[k], done, obs, state)
        yield from _first_tie(take, person, counts)
        people.append(person)
    # The one who is seen most sets the scale.
    people.sort(key=lambda p: -p.seen_size)
    floor = _floor(take, people) if options.floor or options.height is not None else None
    if floor is not None and not options.floor:
        # Only the height was asked for: everybody is as much larger as the one whose it is.
        floor = replace(floor, height=float("nan"), factors=np.full(len(people), floor.factors[0]))
    take.scale = 1.0 if floor is None else float(floor.factors[0])
    motions: list[TrackMotion] = []
    for k, person in enumerate(people):
        motion = yield from _counted(_last(take, person, floor, k), counts, person.number)
        motions.append(motion)
    motions.sort(key=lambda m: m.track)
    if floor is None or not options.floor:
        return list(stand_upright(motions))
    for m in motions:
        m.up, m.floor = floor.up.astype(np.float32), np.full(1, floor.height, np.float32)
    return motions


def _counted(steps: Generator[int, None, object], counts: list[int], k: int) -> Generator[int, None, object]:
    """`steps`, which say how many frames of track `k` are done, as how many of all tracks' are."""
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return end.value
        counts[k] = max(counts[k], done)
        yield sum(counts)


def _plausible(take: Take, track: TrackChunk, state: State) -> bool:
    """Whether the points of `track` are those of a person, be it under another lens than one that is not sure; notes
    how far from it they are."""
    found = misfit(take.fitter, track, take.fitter.places(take.points, state))
    if not found.plausible and not take.lens_sure:
        found = best_misfit(take.fitter, take.points, track)
    take.misfits[track.track] = found
    return found.plausible


def _person(take: Take, k: int, track: TrackChunk, done: Done, obs: Data, state: State) -> _Person:
    held, view = take.held(track.frames), take.view(track.frames)
    turns, places = (None, None) if held is None else (held.turns, held.places)
    expected = expectation(take.body, take.points, track, take.camera.K, turns, places)
    return _Person(k, track, done, obs, state if view is None else view.outward(state), expected, view)


def _strengths(take: Take) -> tuple[float, float, float]:
    """Smoothing of the body, of the root's way up and of its way across."""
    o = take.options
    return o.smooth, o.smooth if o.smooth_up is None else o.smooth_up, (
        o.smooth if o.smooth_across is None else o.smooth_across)  # fmt: skip


def _tie(take: Take, person: _Person, up: np.ndarray, helps: tuple[Help, ...], rounds: int) -> Tie:
    body, vertical, across = _strengths(take)
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


def _first_tie(take: Take, person: _Person, counts: list[int]) -> Generator[int, None, None]:
    if take.options.smooth == 0 or len(person.track.times) < 3:
        return
    helps = (_habit(take.fitter, person),) if person.expected is not None else ()
    up = person_up(take, [person])
    steps = take.fitter.tied(person.obs, person.state, _tie(take, person, up, helps, 3), person.done)
    person.state = yield from _counted(steps, counts, person.number)


def _habit(fitter: Fitter, person: _Person) -> Habit:
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


def person_up(take: Take, people: Sequence[_Person]) -> np.ndarray:
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


def _floor(take: Take, people: Sequence[_Person]) -> Floor:
    up = person_up(take, people)
    standing = []
    for p in people:
        points = _touching(take, p.state)[:, : len(CONTACTS)]
        weight = told_contacts(p, points, up)
        seen = np.isfinite(p.track.points3d).all((1, 2))
        standing.append(Standing(points[:, :4], (weight[:, :4] > 0.5) * weight[:, :4] * seen[:, None], p.track.times,
                                 p.seen_size))  # fmt: skip
    height = take.options.height
    taller = 1.0 if height is None else height / stature(take.body, people[0].state.coefs[:, 0].cpu().numpy())
    return find_floor(standing, up, height, taller)


def told_contacts(person: _Person, points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(n, 8) 0..1, how surely each of `CONTACTS`, which are at `points` (n, 8, 3), rests on the floor."""
    if person.expected is None:
        return resting(points, up, person.track.times)
    return judged(person.expected.contacts, points, person.track.times)


def _touching(take: Take, state: State) -> np.ndarray:
    return take.fitter.places(touching_points(take.body), state)


def _last(take: Take, person: _Person, floor: Floor | None, k: int) -> Generator[int, None, TrackMotion]:
    fitter, options, n = take.fitter, take.options, len(person.track.times)
    contacts = np.zeros((n, len(CONTACTS)), np.float32)
    if floor is not None:
        _resize(take, person, float(floor.factors[k]))
    if floor is not None and np.isfinite(floor.height):
        everywhere = _touching(take, person.state)
        points = everywhere[:, : len(CONTACTS)]
        heights = everywhere @ floor.up + floor.height
        said = told_contacts(person, points, floor.up)
        contacts = grip(said, points, heights[:, : len(CONTACTS)], person.track.times, options.foot_lock)
        if options.smooth > 0 and n >= 3:
            ground = _ground(take, person, floor, contacts, heights)
            helps = (ground,) if person.expected is None else (_habit(fitter, person), ground)
            tie = _tie(take, person, floor.up, helps, 5)
            person.state = yield from fitter.tied(person.obs, person.state, tie, person.done)
    seen = person.state if person.view is None else person.view.inward(person.state)
    joints, sigma = yield from fitter.spreads(person.obs, seen, person.done)
    if person.view is not None:
        joints = person.view.outside(joints)
    fit = fitter.result(person.state, None, joints, sigma)
    return replace(finished(person.track, fit, take.body), contacts=contacts.astype(np.float32))


def _resize(take: Take, person: _Person, factor: float) -> None:
    """Make somebody larger about the camera, wherever it is; its own way has grown with the one who sets the scale."""
    view, state = person.view, person.state
    if view is not None:
        state = view.inward(state)
        person.view = view = replace(view, place=view.place * take.scale)
    state, person.obs = resized(take.fitter, state, person.obs, factor)
    person.state = state if view is None else view.outward(state)


def _ground(take: Take, person: _Person, floor: Floor, contacts: np.ndarray, heights: np.ndarray) -> Ground:
    points = touching_points(take.body)
    n, q = contacts.shape
    model = SkinModel(
        take.body, replace(points, posedirs=None), take.fitter.num_betas, device=take.fitter.device
    )
    rest, under, stay = np.zeros((len(points), n)), np.zeros((len(points), n)), np.zeros((len(points), n - 1))
    if take.options.foot_lock != "off":
        pelvis = person.state.root.cpu().numpy().T @ floor.up + floor.height
        rest[:] = lying(heights, contacts, pelvis, person.track.times).T ** 2 / LIE_M**2
        rest[:q] = np.maximum(rest[:q], contacts.T**2 / STAND_M**2)
        under[:q] = levels(contacts, heights[:, :q]).T
        dt = np.diff(person.track.times)
        stay[:q] = (contacts[1:] * contacts[:-1]).T ** 2 / (CREEP * dt) ** 2 * ~is_hole(dt)
    like = {"dtype": torch.float32, "device": take.fitter.device}
    return Ground(model, torch.as_tensor(floor.up, **like), floor.height, torch.as_tensor(rest, **like),
                  torch.as_tensor(under, **like),
                  torch.as_tensor(stay, **like), SINK_M**-2)  # fmt: skip


def _level_axes(up: np.ndarray) -> np.ndarray:
    """(3, 3) columns: across, up, across."""
    side = np.cross(up, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    return np.stack([side, up, np.cross(side, up)], 1)


__all__ = ["solve"]
