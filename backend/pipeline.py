"""The whole product on one screen: frame -> person -> points -> body -> motion, a generator of events.

`mocap` pulls frames, follows the people in them, localizes their points, and gives back a `Chunk` (to be saved)
and a first `TrackMotion` per person every `chunk` frames; when the clip ends, the final motion of each track.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from backend.errors import JobError
from backend.localizers.choose import create_localizer
from backend.localizers.contract import LocalizerOptions
from backend.motion.assemble import Clip, assemble, mean_uncertainty, stand_upright
from backend.motion.chunks import Pending, person_tracks
from backend.options import MocapOptions, choose_device
from backend.people.chosen import ChosenTracker
from backend.people.detect import PersonDetector
from backend.people.follow import PeopleTracker
from backend.records import Chunk, Event, Notice, Progress, Subject, Summary
from blender_addon.shared.frames import Frame


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


def mocap(frames: Iterable[Frame], options: MocapOptions, *, total: int | None = None, resume: Sequence[Chunk] = (),
          cancelled: Callable[[], bool] = lambda: False, breathe: Callable[[], None] = lambda: None,
          ) -> Iterator[Event]:  # fmt: skip
    """Run a job. `frames` come in order, from 0 or from the frame after the last of `resume`; `total` if known.

    Yields Progress, Chunk, TrackMotion, Notice, and Summary last. Ends early without Summary when `cancelled()`.
    `breathe` is called every few tenths of a second while bodies are fitted: it may wait (a pause) or raise.
    Raises JobError with code no_frames, no_person, no_choice, bad_options, bad_body, bad_weights or no_device.
    """
    watch = Stopwatch()
    device = choose_device(options.device)
    body = options.load_body()
    told: list[str] = []
    yield Progress("prepare", 0, None)  # weights that meet this body for the first time need up to a minute
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
    pending = Pending(clip.frames)
    source = iter(frames)
    while True:
        if cancelled():
            return
        with watch("decode"):
            frame = next(source, None)
        if frame is not None:
            clip.see(frame)
            with watch("people"):
                rois = tracker.rois(frame.index, frame.image)
            with watch("points"):
                people = [
                    Subject(frame.image, clip.camera, roi.person, roi, tracker.expected(track))
                    for track, roi in rois
                ]
                seen = localizer.localize(people)
                landmarks = seen.points2d[:, localizer.landmarks]
            with watch("people"):
                for i, (track, _) in enumerate(rois):
                    anchors = None if seen.anchors2d is None else seen.anchors2d[i]
                    tracker.update(track, landmarks[i], float(seen.score[i]), anchors)
                counted = tracker.settle()
            for i, (track, _) in enumerate(rois):
                if track in counted:
                    pending.add(track, frame, seen, i)
            while tracker.notices:
                yield Notice(tracker.notices.pop(0))
            pending.last = frame.index
            yield Progress("localize", frame.index + 1, total)
        if pending.size and (frame is None or pending.size >= options.chunk):
            yield from pending.take_features(tracker)
            chunk = pending.take(clip.camera, tracker)
            clip.add(chunk)
            yield chunk
            if frame is not None and not tracker.undecided:
                with watch("body"):
                    motions = clip.preview(chunk)
                yield from motions
        if frame is None:
            break
    if clip.frames == 0:
        raise JobError("no_frames", "The clip has no frames: choose another file.")
    tracker.check_end(clip.frames)
    tracks = person_tracks(clip.chunks, tracker.ghosts)
    motions = []
    for done, track in enumerate(tracks):
        if cancelled():
            return
        yield Progress("body", done, len(tracks))
        with watch("body"):
            motion = assemble(clip, track)
        if motion is not None:
            motions.append(motion)
    yield Progress("body", len(tracks), len(tracks))
    if not motions:
        text = f"No person was found in the {clip.frames} frames: choose a clip that shows one from head to foot."
        raise JobError("no_person", text)
    yield from stand_upright(motions)
    if dropped := len(clip.track_ids() - tracker.ghosts) - len(motions):
        yield Notice(f"{dropped} find(s) that were too short or did not look like a person were left out.")
    yield Summary(clip.frames, len(motions), dict(watch.seconds), mean_uncertainty(motions))
