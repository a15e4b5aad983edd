"""The end of a job: from all its chunks to shots, cameras, people and their motions.

It looks at no picture, so that everything can be decided anew. Cuts part the clip into shots; in each of them tracks
are looked through once more, the user's corrections are laid over them, the camera is solved, and `solve` makes the
motions.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from backend.camera.background import Background
from backend.camera.lasting import Lasting
from backend.camera.path import CameraPath, solve_path, standing
from backend.camera.pinhole import Camera
from backend.camera.refocus import refocused
from backend.errors import JobError
from backend.jobs.pieces import digest
from backend.motion.assemble import Clip
from backend.motion.chunks import person_tracks
from backend.motion.corrections import apply_edits
from backend.motion.kept import basis, code, kept_record, kept_value, of_track
from backend.motion.lens_search import TOLD, LensEstimate, estimate_lens, known_lens
from backend.motion.reason import reason, refuted
from backend.motion.rejoin import linked, rejoined, taken
from backend.motion.solve import solve
from backend.motion.take import Take, Way
from backend.records import Chunk, Shot, TrackChunk, TrackMotion
from backend.shots.cuts import find_cuts
from backend.shots.signature import SIZE

LINK = 0.9
"""Least certainty of a proposal that somebody in two shots is the same person."""

SAME_LENS = 0.01
"""Relative difference of focal lengths up to which a camera's turns need not be found anew."""


@dataclass
class Finished:
    """What a job comes to."""

    shots: list[Shot] = field(default_factory=list)
    """In the order of time."""
    motions: list[TrackMotion] = field(default_factory=list)
    """In the order of their tracks."""
    names: dict[int, str] = field(default_factory=dict)
    """Track -> the name that the user gave it."""
    left_out: list[str] = field(default_factory=list)
    """A sentence for everybody who was followed and looks like no person."""
    excluded: set[int] = field(default_factory=set)
    """The tracks whom the user left out, with those that were joined to them."""


def finish(clip: Clip, ghosts: Collection[int]) -> Generator[tuple[int, int], None, Finished]:
    """Yields, several times a second, how many frames are done, and of how many. Raises JobError("bad_options") when a
    correction does not fit."""
    firsts = first_frames(clip)
    parts = _tracks_of_shots(clip, firsts, ghosts)
    whole = [t for part in parts for t in part]
    corrected = apply_edits(whole, clip.options.edits, firsts)
    shot_of = lambda t: int(np.searchsorted(firsts, t.frames[0], "right"))  # noqa: E731
    links = _proposed(parts) | corrected.links
    gone = {int(number) for t in corrected.excluded for number in (t.track, *t.source)}
    out = Finished(names=corrected.names, excluded=gone)
    total, before = sum(len(t.frames) for t in corrected.tracks), 0
    yield 0, total
    for number, first in enumerate(firsts, 1):
        tracks = [t for t in corrected.tracks if shot_of(t) == number]
        last = (firsts[number] if number < len(firsts) else clip.frames) - 1
        excluded = [t for t in corrected.excluded if shot_of(t) == number]
        take, path, lens = _take(clip, first, last, tracks, parts[number - 1], excluded)
        steps, motions = solve(take, take.tracks), None
        while motions is None:
            try:
                yield before + next(steps), total
            except StopIteration as end:
                motions = end.value
        before += sum(len(t.frames) for t in tracks)
        doubts = {t.track: t for t in tracks}
        for m in motions:
            m.shot = np.full(1, number, np.int32)
            m.doubtful = doubts[m.track].doubt.astype(np.uint8)
            m.source = doubts[m.track].source.astype(np.int32)
        out.motions += motions
        out.shots.append(_shot(number, clip, take, path, lens, motions))
        out.left_out += _left_out(take, motions)
    kept = {m.track for m in out.motions}
    for m in out.motions:
        m.person = np.full(1, links.get(m.track, 0) if links.get(m.track) in kept else 0, np.int32)
    out.motions.sort(key=lambda m: m.track)
    return out


def first_frames(clip: Clip) -> list[int]:
    """First frame of each shot; only the clip's where cuts are not looked for, or an earlier release kept no
    signatures."""
    chunks = clip.chunks
    if not clip.options.shots or any(c.signatures.shape != (c.last + 1 - c.first, SIZE) for c in chunks):
        return [0]
    signatures = np.concatenate([c.signatures for c in chunks])
    times, background = clip.times(np.arange(len(signatures))), _background(clip, 0, len(signatures) - 1)
    if background is None:
        return [0, *find_cuts(signatures, times).tolist()]
    lasting = Lasting(background, max(clip.camera.width, clip.camera.height))
    return [0, *find_cuts(signatures, times, lasting.goes_on).tolist()]


def _tracks_of_shots(clip: Clip, firsts: Sequence[int], ghosts: Collection[int]) -> list[list[TrackChunk]]:
    """Everybody in each shot, looked through once more; a track that goes on behind a cut is somebody new there."""
    used: set[int] = set()
    out, following = [], max((t.track for c in clip.chunks for t in c.tracks), default=0) + 1
    for first, end in zip(firsts, [*firsts[1:], clip.frames], strict=True):
        within = [_within(c, first, end) for c in clip.chunks if c.last >= first and c.first < end]
        found = rejoined(person_tracks(within, ghosts))
        for k, track in enumerate(found):
            if track.track in used:
                found[k], following = replace(track, track=following), following + 1
            used.add(found[k].track)
        out.append(found)
    return out


def _within(chunk: Chunk, first: int, end: int) -> Chunk:
    if first <= chunk.first and chunk.last < end:
        return chunk
    parts = (taken(t, np.flatnonzero((t.frames >= first) & (t.frames < end))) for t in chunk.tracks)
    return replace(chunk, tracks=[t for t in parts if len(t.frames)])


def _proposed(parts: Sequence[Sequence[TrackChunk]]) -> dict[int, int]:
    """Track -> the earlier track, in another shot, that looks like the same person."""
    if len(parts) < 2:
        return {}
    earliest: dict[int, int] = {}
    out = {}
    for _, track, person, sure in linked(parts):
        if person not in earliest:
            earliest[person] = track
        elif sure >= LINK:
            out[track] = earliest[person]
    return out


def _take(
    clip: Clip, first: int, last: int, tracks: list[TrackChunk], followed: list[TrackChunk],
    excluded: list[TrackChunk],
) -> tuple[Take, CameraPath, LensEstimate]:  # fmt: skip
    """The camera of a shot, and its people under it: `tracks`, who were `followed` before any correction, and those who
    were `excluded`."""
    frames, o, localized = np.arange(first, last + 1), clip.options, clip.localized_under
    assumed, times = clip.camera, clip.times(frames)
    given = o.focal_px is not None or o.fov_deg is not None
    if o.camera_path:
        path = imported(o.camera_path, frames)
        lens = known_lens(path.focal_px, assumed, "camera")
    else:
        background = _background(clip, first, last)
        solved = partial(_path, clip, background, times)
        path = standing(frames, assumed.K[0, 0])
        if background is not None:
            path = solved(camera=assumed, focal_known=given)
        lens = known_lens(float(assumed.K[0, 0]), assumed, "given")
        if not given:
            turning = (
                (path.focal_px, path.focal_sigma) if path.moving and np.isfinite(path.focal_sigma) else None
            )
            lens = _lens(clip, _asked(clip, tracks, followed), turning, not path.moving)
            # A walk found what lens goes best with it, though not surely; a lens that is only assumed is no better.
            guessed = path.walks and lens.source == "assumed"
            if path.moving and not guessed and abs(lens.focal_px / path.focal_px - 1) > SAME_LENS:
                other = Camera.from_focal(assumed.width, assumed.height, lens.focal_px)
                path = solved(camera=other, focal_known=True)
    if path.said:
        # What a wrong model takes for a zoom is none.
        path = replace(path, zoom=np.ones(len(frames)), zooming=False)
    camera = assumed
    if abs(lens.focal_px / assumed.K[0, 0] - 1) > 1e-6:
        camera = Camera.from_focal(assumed.width, assumed.height, lens.focal_px)
    take = clip.take(
        camera, first, Way(path.turns, path.places, not path.walks, path.points) if path.moving else None
    )
    take.lens_sure = lens.sigma < TOLD
    if camera is not localized or o.lens:
        tracks, followed, excluded = (
            [refocused(t, localized, camera, o.lens or None) for t in some]
            for some in (tracks, followed, excluded)
        )
    take.tracks, take.followed, take.excluded = tracks, followed, excluded
    return take, path, lens


def _asked(clip: Clip, tracks: list[TrackChunk], followed: list[TrackChunk]) -> list[TrackChunk]:
    """Who is asked for the lens: nobody, unless the one who is seen most, as he was `followed`, cannot be a person
    under the one that is assumed. What people say of it is never surer than by one sigma (`bench.lens`), and a lens
    that changed with every correction would move everybody with it."""
    if clip.localized_under is not clip.camera:
        return []
    numbers = {t.track for t in tracks}
    there = [t for t in followed if t.track in numbers] or tracks
    main = max(there, key=lambda t: float(np.sqrt(t.boxes[:, 2:].prod(1).clip(0)).sum()), default=None)
    if main is None:
        return []
    name = digest(basis(clip.fitter, clip.points), of_track(main), "refuted")
    said = kept_value(clip.pieces, name, lambda: np.array(refuted(clip.fitter, clip.points, main)))
    return there if said else []


def _path(
    clip: Clip, background: Background, times: np.ndarray, camera: Camera, focal_known: bool
) -> CameraPath:
    """`solve_path`, which takes seconds where a camera moves, or what it came to before."""
    seen, mode = background.to_arrays(), clip.options.camera
    name = digest(
        code(), *seen, *seen.values(), times, camera.width, camera.height, camera.K, focal_known, mode
    )
    make = partial(solve_path, background, times, camera, focal_known=focal_known, mode=mode)
    return kept_record(clip.pieces, name, CameraPath, make)


def _lens(
    clip: Clip, asked: list[TrackChunk], turning: tuple[float, float] | None, still: bool
) -> LensEstimate:
    """`estimate_lens` likewise."""
    make = partial(estimate_lens, asked, clip.localized_under, clip.body, clip.points, focal_35mm=clip.focal_35mm,
                   turning=turning, still=still, breathe=clip.breathe)  # fmt: skip
    if not asked:
        return make()
    name = digest(
        basis(clip.fitter, clip.points), *map(of_track, asked), clip.focal_35mm, turning, still, "lens"
    )
    return kept_record(clip.pieces, name, LensEstimate, make)


def _background(clip: Clip, first: int, last: int) -> Background | None:
    parts = [c for c in clip.chunks if c.last >= first and c.first <= last]
    if not parts or any(not c.background for c in parts):
        return None
    return Background.joined([Background.from_arrays(c.background) for c in parts]).cut(first, last)


def _left_out(take: Take, motions: Sequence[TrackMotion]) -> list[str]:
    kept = {m.track for m in motions}
    out = []
    for t in take.tracks:
        if t.track not in kept:
            why = reason(t, take.camera.width, take.camera.height, take.misfits.get(t.track))
            out.append(f"Person {t.track} (frames {t.frames[0]} to {t.frames[-1]}) was left out: {why}.")
    return out


def imported(rows: Sequence[Sequence[float]], frames: np.ndarray) -> CameraPath:
    """A camera that was solved elsewhere: `rows` as of the option `camera_path`, any of them for `frames` (m,) and
    beside; between two it is interpolated. Raises JobError("bad_options")."""
    table = np.array(sorted(rows), float)
    if len(np.unique(table[:, 0])) != len(table) or (table[:, 7] < 1).any():
        raise JobError(
            "bad_options", "The option 'camera_path' needs one row for a frame and focal lengths in pixels."
        )
    at = np.clip(frames, table[0, 0], table[-1, 0]).astype(float)
    turn = Rotation.from_rotvec(table[:, 1:4])
    turns = (Slerp(table[:, 0], turn)(at) if len(table) > 1 else turn[np.zeros(len(at), int)]).as_matrix()
    places = np.stack([np.interp(at, table[:, 0], column) for column in table[:, 4:7].T], 1)
    focal = np.interp(at, table[:, 0], table[:, 7])
    known = (frames >= table[0, 0]) & (frames <= table[-1, 0])
    still = standing(frames, float(focal[0]))
    moving = bool(np.ptp(table[:, 1:7], axis=0).max() > 1e-9)
    return replace(still, turns=turns @ turns[0].T, places=(places - places[0]) @ turns[0].T, zoom=focal / focal[0],
                   known=known, moving=moving,
                   zooming=bool(np.ptp(np.log(focal)) > 1e-3))  # fmt: skip


def _shot(
    number: int, clip: Clip, take: Take, path: CameraPath, lens: LensEstimate, motions: Sequence[TrackMotion]
) -> Shot:
    frames, K = path.frames, take.camera.K
    n = len(frames)
    way = take.way or Way(np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3)))
    pixels = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]]) * np.stack(
        [path.zoom, path.zoom, *np.ones((2, n))], 1
    )
    note = path.said or take.said
    if path.zooming and not note:
        note = (
            "The camera zooms: distances are true only where it shows as much as in the shot's first frame."
        )
    main = motions[0] if motions else None
    nothing = np.full(1, np.nan, np.float32)
    return Shot(
        number, take.camera.width, take.camera.height, frames.astype(np.int32), clip.times(frames),
        Rotation.from_matrix(way.turns).as_rotvec().astype(np.float32),
        (way.places * take.scale).astype(np.float32), pixels.astype(np.float32), path.known.astype(np.uint8),
        np.array([0, -1, 0], np.float32) if main is None else main.up, nothing if main is None else main.floor,
        bool(path.moving), bool(path.zooming), lens.fov_deg, lens.sigma_deg, lens.source, note,
    )  # fmt: skip


__all__ = ["Finished", "finish", "first_frames"]
