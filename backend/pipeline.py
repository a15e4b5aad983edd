"""The whole product on one screen: frame -> person -> points -> body -> motion, a generator of events.

`mocap` pulls frames, follows the people in them, localizes their points, and gives back a `Chunk` (to be saved)
and a first `TrackMotion` per person every `chunk` frames; when the clip ends, the final motion of each track.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from backend.errors import JobError
from backend.localizers.choose import create_localizer
from backend.localizers.contract import Localizer, LocalizerOptions
from backend.motion.assemble import Clip, assemble, mean_uncertainty, stand_upright
from backend.motion.chunks import Pending, person_tracks
from backend.options import MocapOptions, choose_device
from backend.people.chosen import ChosenTracker
from backend.people.detect import PersonDetector
from backend.people.follow import PeopleTracker
from backend.records import Chunk, Event, Notice, Progress, Subject, Summary, TrackMotion
from blender_addon.shared.frames import Frame


def mocap(
    frames: Iterable[Frame],
    options: MocapOptions,
    *,
    total: int | None = None,
    resume: Sequence[Chunk] = (),
    cancelled: Callable[[], bool] = lambda: False,
    breathe: Callable[[], None] = lambda: None,
) -> Iterator[Event]:
    """Run a job. `frames` come in order, from 0 or from the frame after the last of `resume`; `total` if known.

    Yields Progress, Features, Chunk, TrackMotion, Notice, and Summary last. Ends early without Summary when
    `cancelled()`. `breathe` is called every few tenths of a second while bodies are fitted: it may wait (a pause) or
    raise. Raises JobError with code no_frames, no_person, no_choice, bad_options, bad_body, bad_weights or no_device.
    """
    road = yield from _prepare(options, resume, breathe)
    source = iter(frames)
    while not cancelled():
        with road.watch("decode"):
            frame = next(source, None)
        if frame is None:
            yield from _hand_over(road, ended=True)
            yield from _finish(road, cancelled)
            return
        _look(road, frame)
        yield from map(Notice, road.tracker.take_notices())
        yield Progress("localize", frame.index + 1, total)
        if road.pending.size >= options.chunk:
            yield from _hand_over(road, ended=False)


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

    localizer: Localizer
    """Finds points."""
    tracker: PeopleTracker
    """Knows who is who."""
    clip: Clip
    """What is known of the clip so far."""
    pending: Pending
    """What was seen and not yet handed over."""
    watch: Stopwatch
    """How long each stage takes."""


def _prepare(
    options: MocapOptions, resume: Sequence[Chunk], breathe: Callable[[], None]
) -> Generator[Event, None, _Road]:
    """Load body, localizer and detector, and take up where `resume` ends."""
    device = choose_device(options.device)
    body = options.load_body()
    told: list[str] = []
    # Weights that meet this body for the first time need up to a minute.
    yield Progress("prepare", 0, None)
    wanted = LocalizerOptions(device, note=told.append, keep=options.keep_features)
    localizer = create_localizer(options.localizer, body, wanted)
    yield from map(Notice, told)
    detector = PersonDetector(device)
    if options.people is None:
        tracker = PeopleTracker(detector, options.max_people)
    else:
        tracker = ChosenTracker(detector, options.people, options.max_people)
    clip = Clip(body, localizer.native, options, breathe)
    for chunk in resume:
        clip.add(chunk)
    tracker.recall(clip.chunks[-1].memory if clip.chunks else {})
    return _Road(localizer, tracker, clip, Pending(clip.frames), Stopwatch())


def _look(road: _Road, frame: Frame) -> None:
    """One frame: where the people are expected, what the localizer finds there, who they are."""
    tracker, clip, watch = road.tracker, road.clip, road.watch
    clip.see(frame)
    with watch("people"):
        rois = tracker.rois(frame.index, frame.image)
    with watch("points"):
        people = [
            Subject(frame.image, clip.camera, roi.person, roi, tracker.expected(track)) for track, roi in rois
        ]
        seen = road.localizer.localize(people)
        landmarks = seen.points2d[:, road.localizer.landmarks]
    with watch("people"):
        for i, (track, _) in enumerate(rois):
            anchors = None if seen.anchors2d is None else seen.anchors2d[i]
            tracker.update(track, landmarks[i], float(seen.score[i]), anchors)
        counted = tracker.settle()
    for i, (track, _) in enumerate(rois):
        if track in counted:
            road.pending.add(track, frame, seen, i)
    road.pending.last = frame.index


def _hand_over(road: _Road, ended: bool) -> Iterator[Event]:
    """What was seen since the last time, as features and chunk; while the clip goes on, with a first motion."""
    clip, tracker = road.clip, road.tracker
    if not road.pending.size:
        return
    # The features first: who finds the chunk saved need not ask whether they were.
    if features := road.pending.take_features(tracker.ghosts):
        yield features
    chunk = road.pending.take(clip.camera, tracker.ghosts, tracker.memory())
    clip.add(chunk)
    yield chunk
    if not ended and not tracker.undecided:
        with road.watch("body"):
            motions = clip.preview(chunk)
        yield from motions


def _finish(road: _Road, cancelled: Callable[[], bool]) -> Iterator[Event]:
    """The clip was seen to its end: the final motion of everybody."""
    clip, ghosts = road.clip, road.tracker.ghosts
    if clip.frames == 0:
        raise JobError("no_frames", "The clip has no frames: choose another file.")
    road.tracker.check_end(clip.frames)
    tracks = person_tracks(clip.chunks, ghosts)
    motions: list[TrackMotion] = []
    before, total = 0, sum(len(track.frames) for track in tracks)
    for track in tracks:
        steps, done, going = assemble(clip, track), 0, True
        while going:
            if cancelled():
                return
            yield Progress("body", before + done, total)
            with road.watch("body"):
                try:
                    done = next(steps)
                except StopIteration as end:
                    motion, going = end.value, False
        if motion is not None:
            motions.append(motion)
        before += len(track.frames)
    yield Progress("body", total, total)
    if not motions:
        text = f"No person was found in the {clip.frames} frames: choose a clip that shows one from head to foot."
        raise JobError("no_person", text)
    yield from stand_upright(motions)
    if dropped := len(clip.track_ids() - ghosts) - len(motions):
        yield Notice(f"{dropped} find(s) that were too short or did not look like a person were left out.")
    yield Summary(clip.frames, len(motions), dict(road.watch.seconds), mean_uncertainty(motions))
