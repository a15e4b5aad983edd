"""The whole product on one screen: frame -> person -> points -> body -> motion, a generator of events.

`mocap` pulls frames, follows the people in them, localizes their points, and gives back a `Chunk` (to be saved)
and a first `TrackMotion` per person every `chunk` frames; when the clip ends, the final motion of each track.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count, islice, takewhile

import numpy as np

from backend.errors import JobError
from backend.jobs.pieces import Pieces
from backend.localizers.choose import create_localizer, native_of
from backend.localizers.contract import SHIPPED, Localizer, LocalizerOptions
from backend.motion.assemble import Clip, mean_uncertainty
from backend.motion.chunks import Pending, frame_times
from backend.motion.finish import finish
from backend.nets.engine import RUNTIME, choose_engine, is_installed
from backend.nets.hands import ONE, Hands
from backend.options import MocapOptions, choose_device
from backend.people.ahead import MOST, agree, apart, frames_ahead
from backend.people.chosen import ChosenTracker
from backend.people.detect import PersonDetector
from backend.people.follow import PeopleTracker
from backend.people.looks import everybodys_looks
from backend.people.track import Aim
from backend.records import Chunk, Event, Localization, Notice, Progress, Subject, Summary
from backend.shots.notes import Notes
from blender_addon.shared.frames import Frame

MOST_NAMED = 5
"""Of those who are left out, so many are named with the reason; the others are counted."""


def mocap(
    frames: Iterable[Frame],
    options: MocapOptions,
    *,
    total: int | None = None,
    resume: Sequence[Chunk] = (),
    cancelled: Callable[[], bool] = lambda: False,
    breathe: Callable[[], None] = lambda: None,
    previews: bool = True,
    focal_35mm: float | None = None,
    pieces: Pieces | None = None,
) -> Iterator[Event]:
    """Run a job. `frames` come in order, from 0 or from the frame after the last of `resume`; `total` if known;
    `focal_35mm`: what the clip's file tells of the lens; `pieces`: what was solved of the job before, and where what is
    solved now is kept.

    Yields Progress, Features, Chunk, TrackMotion, Notice, and Summary last. `previews`: first motions too, while the
    clip is seen, for somebody who looks on. Ends early without Summary when `cancelled()`. `breathe` is called every
    few tenths of a second while bodies are fitted: it may wait (a pause) or raise. Raises JobError with code no_frames,
    no_person, no_choice, bad_options, bad_body, bad_weights or no_device.
    """
    with _hands(options) as hands:
        source, waiting = iter(frames), deque[Frame]()
        waiting.extend(islice(source, 1))
        road = yield from _prepare(options, resume, breathe, hands, looks=bool(waiting))
        road.clip.focal_35mm = focal_35mm
        if pieces is not None:
            road.clip.pieces = pieces
        for frame in waiting:
            road.notes.sign(frame)
        while not cancelled():
            with road.watch("decode"):
                _fetch(road, source, waiting, options.chunk - road.pending.size)
            if not waiting:
                yield from _hand_over(road, preview=False)
                yield from _finish(road, cancelled)
                return
            some = list(waiting)[: frames_ahead(road.tracker, list(waiting))]
            # Nothing is guessed across what may be a cut.
            some = some[: 1 + sum(1 for _ in takewhile(lambda f: not road.notes.sudden(f), some[1:]))]
            for _ in range(_look(road, some)):
                yield Progress("localize", waiting.popleft().index + 1, total)
            yield from map(Notice, road.tracker.take_notices())
            if road.pending.size >= options.chunk:
                yield from _hand_over(road, previews)


def _hands(options: MocapOptions) -> AbstractContextManager[Hands]:
    """Who look at pictures side by side; nobody where the network takes them in batches."""
    if (
        options.localizer in SHIPPED
        and choose_engine(choose_device(options.device), options.engine) == RUNTIME
    ):
        return Hands(options.workers)
    return nullcontext(ONE)


class Stopwatch:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


@dataclass
class _Road:
    """Everything that one job needs on its way."""

    localizer: Localizer | None
    """Finds points; None where only the end is to be done."""
    engine: str
    """By which its network runs, or would."""
    tracker: PeopleTracker
    """Knows who is who."""
    clip: Clip
    """What is known of the clip so far."""
    pending: Pending
    """What was seen and not yet handed over."""
    watch: Stopwatch
    """How long each stage takes."""
    hands: Hands
    """Who do what can be done side by side."""
    notes: Notes
    """What is noted of every picture beside its people."""


def _prepare(
    options: MocapOptions, resume: Sequence[Chunk], breathe: Callable[[], None], hands: Hands, looks: bool
) -> Generator[Event, None, _Road]:
    """Load body, localizer and detector, and take up where `resume` ends. `looks`: whether any picture will be looked
    at; without that neither localizer nor detector are loaded, which takes seconds."""
    device = choose_device(options.device)
    body = options.load_body()
    yield Progress("prepare", 0, None)
    localizer = detector = None
    native, engine = native_of(options.localizer, body), choose_engine(device, options.engine)
    if looks:
        told: list[str] = []
        # Weights that meet this body for the first time need up to a minute.
        wanted = LocalizerOptions(
            device, note=told.append, keep=options.keep_features, engine=options.engine, hands=hands
        )
        localizer = create_localizer(options.localizer, body, wanted)
        native, engine = localizer.native, localizer.engine
        if device == "cpu" and options.engine == "auto" and not is_installed():
            told.append(
                "ONNX Runtime is missing or cannot be loaded, so this takes about twice as long: press Set Up Backend, "
                "or run 'python install.py setup'."
            )
        yield from map(Notice, told)
        detector = PersonDetector(device, engine=options.engine, hands=hands)
    if options.people is None:
        tracker = PeopleTracker(detector, options.max_people)
    else:
        tracker = ChosenTracker(detector, options.people, options.max_people)
    clip = Clip(body, native, options, breathe)
    for chunk in resume:
        clip.add(chunk)
    notes = Notes()
    if clip.chunks:
        tracker.recall(clip.chunks[-1].memory, frame_times(clip.chunks))
        notes.recall(clip.chunks[-1].memory)
    return _Road(localizer, engine, tracker, clip, Pending(clip.frames), Stopwatch(), hands, notes)


def _fetch(road: _Road, source: Iterator[Frame], waiting: deque[Frame], most: int) -> None:
    """Fill up `waiting` until one more may not be looked at together with the others, to `most` at the most; it stays
    empty at the end of the clip."""
    tracker = road.tracker
    while not waiting or (
        len(waiting) < min(most, MOST)
        and apart(tracker, waiting[0])
        and frames_ahead(tracker, list(waiting)) == len(waiting)
    ):
        frame = next(source, None)
        if frame is None:
            return
        road.notes.sign(frame)
        waiting.append(frame)


def _look(road: _Road, frames: Sequence[Frame]) -> int:
    """Some frames at once: where the people are expected, what the localizer finds there, who they are. -> how many
    of them are done; the others must be looked at again, with these known."""
    tracker, clip, watch = road.tracker, road.clip, road.watch
    for frame in frames:
        clip.see(frame)
    first = frames[0]
    with watch("people"):
        if road.notes.sudden(first):
            tracker.restart()
        parts = tracker.open(first)
        # Whoever is seen stays where he is whatever the detector finds: it can be asked beside.
        beside = parts is not None and tracker.all_seen
        finds = None if parts is None else road.hands.begin(tracker.find, first.image, parts)
        if finds is not None and not beside:
            tracker.meet(finds.result())
        aims = [tracker.aims(frame) for frame in frames]
    with watch("points"):
        seen = _localize(road, frames, aims)
    if finds is not None and beside:
        with watch("people"):
            tracker.meet(finds.result())
        known = {aim.track for aim in aims[0]}
        if new := [aim for aim in tracker.aims(first) if aim.track not in known]:
            with watch("points"):
                seen[0] += _localize(road, [first], [new])[0]
    for k, frame in enumerate(frames):
        if k and (tracker.must_look(frame) or not agree(aims[k], tracker.aims(frame))):
            return k
        with watch("people"):
            if k:
                tracker.open(frame)
            tracker.ask()
            _settle(road, frame, seen[k])
    return len(frames)


_Seen = tuple[int, Localization, int]
"""Number of a track, and the row of a localization that holds what was seen of it."""


def _localize(road: _Road, frames: Sequence[Frame], aims: Sequence[Sequence[Aim]]) -> list[list[_Seen]]:
    """What is seen in each frame of those who are looked for in it."""
    people = [
        Subject(frame.image, road.clip.camera, aim.roi.person, aim.roi, aim.landmarks)
        for frame, aimed in zip(frames, aims, strict=True)
        for aim in aimed
    ]
    seen, row = road.localizer.localize(people), count()
    return [[(aim.track, seen, next(row)) for aim in aimed] for aimed in aims]


def _settle(road: _Road, frame: Frame, seen: Sequence[_Seen]) -> None:
    """Say who is who in the open frame, and keep what counts."""
    marks = road.localizer.landmarks
    looks = everybodys_looks(frame.image, [_person(found, i, marks) for _, found, i in seen])
    for (track, found, i), look in zip(seen, looks, strict=True):
        anchors = None if found.anchors2d is None else found.anchors2d[i]
        road.tracker.update(track, found.points2d[i, marks], float(found.score[i]), anchors, look)
    counted = road.tracker.settle()
    for (track, found, i), look in zip(seen, looks, strict=True):
        if track in counted:
            road.pending.add(track, frame, found, i, look)
    road.pending.last = frame.index
    road.notes.settle(frame, np.array([_box(found.points2d[i]) for _, found, i in seen]).reshape(-1, 4))


def _box(points: np.ndarray) -> np.ndarray:
    """(4,) x, y, w, h pixels around what is known of points (P, 2)."""
    low, high = np.nanmin(points, 0), np.nanmax(points, 0)
    return np.concatenate([low, high - low])


def _person(found: Localization, i: int, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Landmarks in the picture, their uncertainty, and the depth of row `i`."""
    return (
        found.points2d[i, marks],
        found.uncertainty[i, marks],
        float(np.median(found.points3d[i, marks, 2])),
    )


def _hand_over(road: _Road, preview: bool) -> Iterator[Event]:
    """What was seen since the last time, as features and chunk; with a first motion if that is wanted."""
    clip, tracker = road.clip, road.tracker
    if not road.pending.size:
        return
    # The features first: who finds the chunk saved need not ask whether they were.
    if features := road.pending.take_features(tracker.ghosts):
        yield features
    memory = tracker.memory() | road.notes.memory()
    chunk = road.pending.take(clip.localized_under, tracker.ghosts, memory, **road.notes.take())
    clip.add(chunk)
    yield chunk
    if preview and not tracker.undecided:
        with road.watch("body"):
            motions = clip.preview(chunk)
        yield from motions


def _finish(road: _Road, cancelled: Callable[[], bool]) -> Iterator[Event]:
    """The clip was seen to its end: the final motion of everybody."""
    clip, ghosts = road.clip, road.tracker.ghosts
    if clip.frames == 0:
        raise JobError("no_frames", "The clip has no frames: choose another file.")
    road.tracker.check_end(clip.frames)
    steps, done, total, found = finish(clip, ghosts), 0, 0, None
    while found is None:
        if cancelled():
            return
        with road.watch("body"):
            try:
                done, total = next(steps)
            except StopIteration as end:
                found = end.value
        yield Progress("body", total if found else done, total)
    motions = found.motions
    if not motions:
        text = f"No person was found in the {clip.frames} frames: choose a clip that shows one from head to foot."
        raise JobError("no_person", text)
    yield from found.shots
    yield from motions
    yield from map(Notice, found.left_out[:MOST_NAMED])
    short = (
        clip.track_ids() - ghosts - found.excluded - {int(t) for m in motions for t in (m.track, *m.source)}
    )
    more = max(len(short) - len(found.left_out), 0) + max(len(found.left_out) - MOST_NAMED, 0)
    if more:
        yield Notice(f"{more} find(s) that were too short or did not look like a person were left out.")
    if len(found.shots) > 1:
        yield Notice(f"{len(found.shots)} shots were found, each with its own people, floor and camera.")
    for shot in found.shots:
        where = f" (shot {shot.number})" if len(found.shots) > 1 else ""
        if shot.note:
            yield Notice(f"{shot.note[:-1]}{where}.")
        elif shot.moving:
            yield Notice(
                f"The camera moves{where}: people move in the world, and the camera comes with its own motion."
            )
    seconds = dict(road.watch.seconds)
    yield Summary(clip.frames, len(motions), seconds, mean_uncertainty(motions), road.engine,
                  {str(t): n for t, n in found.names.items()})  # fmt: skip
