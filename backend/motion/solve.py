"""From everybody's tracks in a shot to their motions: bodies, the common floor, and feet that stay where they stand.

The whole end of a job. It looks at no picture, so that it can be done again with other options in seconds. Each person
is fitted frame by frame and tied in time by what the temporal network expects; then the contacts of all say where the
floor is; then each is tied once more, now with contacts that stay and nothing that sinks.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import torch

from backend.fit.helps import Ground
from backend.fit.solver.timing import is_hole
from backend.jobs.pieces import digest
from backend.motion.assemble import finished, stand_upright
from backend.motion.contacts import grip, judged, levels, lying, resting
from backend.motion.ground import TOLD, Floor, Standing, alike, find_floor, on_floor
from backend.motion.person import Everybody, Person, counted, everybody, habit, person_up, tied_by, touching
from backend.motion.resize import resized, stature
from backend.motion.take import Take
from backend.motion.touch import touching_points
from backend.records import TrackChunk, TrackMotion
from blender_addon.shared.motion import CONTACTS

STAND_M, SINK_M = 0.01, 0.01
"""One sigma of the height of what rests, and of what must not sink."""
LIE_M = 0.03
"""One sigma of the height of what somebody lies or sits on: skin gives way, and floors have cushions."""
CREEP = 0.025
"""m/s, one sigma of what rests. This and what stands above was chosen on simulated clips (`bench.motion`, seed 100)."""


def solve(take: Take, tracks: Sequence[TrackChunk]) -> Generator[int, None, list[TrackMotion]]:
    """The final motions of those of `tracks` that are people, by `take.options`, in the shot's space.

    Yields, several times a second, how many of all tracks' frames are done, which rises to their number.
    """
    options = take.options
    counts = [0] * len(tracks)
    found = yield from everybody(take, tracks, counts)
    people = _seen_most_first(found.people)
    if not people:
        return []
    floor, take.scale = None, 1.0
    if options.floor or options.height is not None:
        floor, take.scale = _decided(take, people, found)
    if floor is not None and not options.floor:
        # Only the height was asked for: everybody is as much larger as the one whose it is.
        floor = replace(floor, height=float("nan"), factors=np.full(len(people), floor.factors[0]))
    motions: list[TrackMotion] = []
    for k, person in enumerate(people):
        motion = yield from counted(_kept(take, person, floor, k), counts, person.number)
        motions.append(motion)
    motions.sort(key=lambda m: m.track)
    if floor is None or not options.floor:
        return list(stand_upright(motions))
    for m in motions:
        m.up, m.floor = floor.up.astype(np.float32), np.full(1, floor.height, np.float32)
    return motions


def _seen_most_first(people: Sequence[Person]) -> list[Person]:
    """Those who are people at all; the first sets the scale."""
    return sorted((p for p in people if p.plausible), key=lambda p: -p.seen_size)


def _decided(take: Take, people: Sequence[Person], found: Everybody) -> tuple[Floor, float]:
    """The floor under `people`, and by how much the one who sets the scale is made larger.

    What was found before any correction stays where the corrected ones say the same, and what the excluded ones say
    where the others do not contradict: so nobody moves because of a correction that is none of his, but whoever is on
    a floor that only a poster stood on.
    """
    own = _floor(take, people)
    if take.options.height is not None or {p.name for p in people} == {p.name for p in found.followed}:
        return own, float(own.factors[0])
    witnesses = _seen_most_first([*people, *found.excluded])
    said, by = (own if len(witnesses) == len(people) else _floor(take, witnesses)), witnesses
    if followed := _seen_most_first(found.followed):
        before = _floor(take, followed)
        if alike(_under(take, witnesses, before, followed), said):
            said, by = before, followed
    kept = _under(take, people, said, by)
    there = _floor(take, people, said.up)
    # Who touches nothing contradicts nobody.
    if said is not own and (np.isnan(there.height) or alike(kept, there, size=TOLD)):
        return kept, float(said.factors[0])
    return own, float(own.factors[0])


def _under(take: Take, people: Sequence[Person], floor: Floor, by: Sequence[Person]) -> Floor:
    """A floor that others say, of which some may be among them, under `people`."""
    there = on_floor(_standing(take, people, floor.up), floor)
    sizes = dict(zip((p.name for p in by), floor.factors, strict=True))
    # To the last bit, so that whoever stays as he was is not solved again.
    factors = [sizes.get(p.name, f) for p, f in zip(people, there.factors, strict=True)]
    return replace(there, factors=np.array(factors))


def _floor(take: Take, people: Sequence[Person], up: np.ndarray | None = None) -> Floor:
    """As `people` say it; `up`: where that is known."""
    up, height = person_up(take, people) if up is None else up, take.options.height
    taller = 1.0 if height is None else height / stature(take.body, people[0].state.coefs[:, 0].cpu().numpy())
    return find_floor(_standing(take, people, up), up, height, taller)


def _standing(take: Take, people: Sequence[Person], up: np.ndarray) -> list[Standing]:
    standing = []
    for p in people:
        points = touching(take, p.state)[:, : len(CONTACTS)]
        weight = told_contacts(p, points, up)
        seen = np.isfinite(p.track.points3d).all((1, 2))
        standing.append(Standing(points[:, :4], (weight[:, :4] > 0.5) * weight[:, :4] * seen[:, None], p.track.times,
                                 p.seen_size))  # fmt: skip
    return standing


def told_contacts(person: Person, points: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(n, 8) 0..1, how surely each of `CONTACTS`, which are at `points` (n, 8, 3), rests on the floor."""
    if person.expected is None:
        return resting(points, up, person.track.times)
    return judged(person.expected.contacts, points, person.track.times)


def _kept(take: Take, person: Person, floor: Floor | None, k: int) -> Generator[int, None, TrackMotion]:
    """The motion as it was solved before, or else solved now."""
    stands = () if floor is None else (floor.up, floor.height, float(floor.factors[k]), take.scale)
    name = digest(person.name, take.options.foot_lock, *stands, "motion")
    found = take.pieces.get(name)
    if found is None:
        motion = yield from _last(take, person, floor, k)
        found = motion.to_file()
        take.pieces.put(name, found)
    return replace(TrackMotion.from_file(found), track=person.track.track)


def _last(take: Take, person: Person, floor: Floor | None, k: int) -> Generator[int, None, TrackMotion]:
    fitter, options, n = take.fitter, take.options, len(person.track.times)
    contacts = np.zeros((n, len(CONTACTS)), np.float32)
    if floor is not None:
        _resize(take, person, float(floor.factors[k]))
    if floor is not None and np.isfinite(floor.height):
        everywhere = touching(take, person.state)
        points = everywhere[:, : len(CONTACTS)]
        heights = everywhere @ floor.up + floor.height
        said = told_contacts(person, points, floor.up)
        contacts = grip(said, points, heights[:, : len(CONTACTS)], person.track.times, options.foot_lock)
        if options.smooth > 0 and n >= 3:
            ground = _ground(take, person, floor, contacts, heights)
            helps = (ground,) if person.expected is None else (habit(fitter, person), ground)
            tie = tied_by(take, person, floor.up, helps, 5)
            person.state = yield from fitter.tied(person.obs, person.state, tie, person.done)
    seen = person.state if person.view is None else person.view.inward(person.state)
    joints, sigma = yield from fitter.spreads(person.obs, seen, person.done)
    if person.view is not None:
        joints = person.view.outside(joints)
    fit = fitter.result(person.state, None, joints, sigma)
    return replace(finished(person.track, fit, take.body), contacts=contacts.astype(np.float32))


def _resize(take: Take, person: Person, factor: float) -> None:
    """Make somebody larger about the camera, wherever it is; its own way has grown with the one who sets the scale."""
    view, state = person.view, person.state
    if view is not None:
        state = view.inward(state)
        person.view = view = replace(view, place=view.place * take.scale)
    state, person.obs = resized(take.fitter, state, person.obs, factor)
    person.state = state if view is None else view.outward(state)


def _ground(take: Take, person: Person, floor: Floor, contacts: np.ndarray, heights: np.ndarray) -> Ground:
    points = touching_points(take.body)
    n, q = contacts.shape
    model = take.fitter.skin(points)
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


__all__ = ["solve"]
