"""The whole product on one screen: frame -> person -> points -> body -> motion, a generator of events.

`mocap` pulls frames, follows the people in them, localizes their points, and gives back a `Chunk` (to be saved)
and a first `TrackMotion` per person every `chunk` frames; when the clip ends, the final motion of each track.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from backend.motion.assemble import Clip, assemble, mean_uncertainty, person_tracks, stand_upright
from backend.nlf.localizer import LocalizerOptions, create_localizer
from backend.options import MocapOptions, choose_device
from backend.people.chosen import ChosenTracker
from backend.people.detect import PersonDetector
from backend.people.track import PeopleTracker
from backend.records import Camera, Chunk, Event, JobError, Notice, Progress, Subject, Summary, TrackChunk
from blender_addon.frames import Frame


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
          cancelled: Callable[[], bool] = lambda: False) -> Iterator[Event]:  # fmt: skip
    """Run a job. `frames` come in order, from 0 or from the frame after the last of `resume`; `total` if known.

    Yields Progress, Chunk, TrackMotion, Notice, and Summary last. Ends early without Summary when `cancelled()`.
    Raises JobError with code no_frames, no_person, no_choice, bad_options, bad_body, bad_weights or no_device.
    """
    watch = Stopwatch()
    device = choose_device(options.device)
    body = options.load_body()
    told: list[str] = []
    yield Progress("prepare", 0, None)  # weights that meet this body for the first time need up to a minute
    localizer = create_localizer(options.localizer, body, LocalizerOptions(device, note=told.append))
    yield from map(Notice, told)
    detector = PersonDetector(device)
    if options.people is None:
        tracker = PeopleTracker(detector, options.max_people)
    else:
        tracker = ChosenTracker(detector, options.people, options.max_people)
    clip = Clip(body, localizer.native, options)
    for chunk in resume:
        clip.add(chunk)
    tracker.recall(clip.chunks[-1].memory if clip.chunks else {})
    pending = _Pending(clip.frames)
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


class _Pending:
    """Localizations not yet handed over as a chunk; `last`: index of the newest frame seen."""

    def __init__(self, first: int) -> None:
        self.first, self.last = first, first - 1
        self._rows: dict[int, list[tuple]] = defaultdict(list)

    @property
    def size(self) -> int:
        return self.last + 1 - self.first

    def add(self, track: int, frame: Frame, seen, i: int) -> None:
        points2d = seen.points2d[i]
        low, high = np.nanmin(points2d, 0), np.nanmax(points2d, 0)
        box = np.concatenate([low, high - low]).astype(np.float32)
        row = (frame.index, frame.time_s, box, seen.points3d[i], points2d, seen.uncertainty[i], seen.score[i])
        self._rows[track].append(row)

    def take(self, camera: Camera, tracker: PeopleTracker) -> Chunk:
        """All that was added since the last call, but for ghosts, who turned out to be nobody."""
        kinds = (np.int32, np.float64, *[np.float32] * 5)
        tracks = [
            TrackChunk(
                track,
                *(
                    np.array(column, kind)
                    for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)
                ),
            )
            for track, rows in sorted(self._rows.items())
            if track not in tracker.ghosts
        ]
        chunk = Chunk(self.first, self.last, camera.width, camera.height, tracks, tracker.memory())
        self.first, self._rows = self.last + 1, defaultdict(list)
        return chunk
