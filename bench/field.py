"""Our own localizer field beside the landmarks it starts from and MediaPipe heavy, in one run.

    python -m bench.field SINGLE --known HELD_OUT --walk DEMO.mp4 --rival PYTHON --json out.json

SINGLE: the folder of the four calibrated cameras. HELD_OUT: rendered people that no training saw (made as
docs/training-log.md says). DEMO: a clip of people who walk. `--rival`: see `bench.accuracy`.

*known*: errors of rendered people, field and fitted landmarks. *cameras*: how far the skin that each camera sees, all
four laid onto their common mean (turn, scale, shift), lies from that mean, before any fit. *steady*: length of the
acceleration of landmarks relative to their middle. *speed*: a picture of one person, from pixels to 256 points, eight
at a time, against MediaPipe heavy on the frames of a film (both with the threads they choose). Errors against the
triangulated and the hand-marked joints: `bench.accuracy --localizer field` and `bench.marks`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from backend.batch.clip import open_video
from backend.body.load import load_body
from backend.body.pointsets import PointSet, named_set
from backend.camera.pinhole import Camera, Roi
from backend.commands.train import predictor
from backend.draw.colours import colours
from backend.evaluate.field import KnownSet, Predict, judge_known, predict_known, relative_errors
from backend.evaluate.metrics import procrustes
from backend.localizers.contract import Localizer, LocalizerOptions
from backend.localizers.field.localizer import FieldLocalizer
from backend.localizers.landmarks.localizer import LandmarksLocalizer
from backend.nets.hands import Hands
from backend.options import choose_device
from backend.people.detect import PersonDetector
from backend.people.follow import PeopleTracker
from backend.records import Subject
from backend.train.config import Recipe
from backend.train.mix import held_out
from bench.accuracy import run_rival
from bench.report import finish, parser

SKIN = "surface_1024"
_ROUNDS = 5
_SHOWN = 10


def main() -> None:
    """Print the figures."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("single", type=Path, help="folder with cam01.mp4 … cam04.mp4")
    p.add_argument("--known", type=Path, help="folder of held-out rendered pictures")
    p.add_argument("--count", type=int, default=96, help="how many of them")
    p.add_argument("--walk", type=Path, help="a clip of people who walk")
    p.add_argument("--rival", help="a Python interpreter that has mediapipe 0.10.21")
    p.add_argument("--pictures", type=Path, help="draw the best, middling and worst of them into this .jpg")
    p.add_argument("--only-speed", action="store_true", help="measure nothing else")
    p.add_argument("--every", type=int, default=10, help="frames of the cameras that are looked at")
    a = p.parse_args()
    body, device = load_body(), choose_device("cpu")
    field = FieldLocalizer(body, LocalizerOptions(device))
    landmarks = LandmarksLocalizer("heavy", body, LocalizerOptions(device))
    videos = sorted(a.single.glob("cam*.mp4"))
    figures: dict = {}
    if a.only_speed:
        finish({"speed": speed(videos[0], device, a.rival)}, a.json)
        return
    if a.known:
        known = KnownSet(*held_out(Recipe(), a.known, a.count))
        if a.pictures:
            cv2.imwrite(str(a.pictures), gallery(known, predictor(field.model))[..., ::-1])
        figures["known"] = {
            "field": judge_known(known, predictor(field.model)),
            "landmarks": judge_known(known, fitted(landmarks, known)),
        }
    skin = named_set(body, SKIN)
    assert skin is not None
    figures["cameras"] = {
        loc.name: agreement([look(v, loc, skin, a.every) for v in videos]) for loc in (field, landmarks)
    }
    if a.walk:
        jerks = {loc.name: unsteadiness(a.walk, loc) for loc in (field, landmarks)}
        figures["steady"] = {**jerks, "ratio": jerks[field.name] / jerks[landmarks.name]}
    figures["speed"] = speed(videos[0], device, a.rival)
    finish(figures, a.json)


def gallery(known: KnownSet, predict: Predict) -> np.ndarray:
    """(3 x 256, n x 256, 3) uint8: people from the best to the worst answered; below each what was found (colour:
    uncertainty), and it beside the truth (white) from the side."""
    places, flat, sigma = predict_known(known, predict)
    error = relative_errors(known, places)
    order = np.linalg.norm(error, axis=-1).mean(1).argsort()
    shown = order[np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).astype(int)]
    columns = []
    for i in shown:
        drawn, side = known.images[i].copy(), np.full((256, 256, 3), 28, np.uint8)
        truth = known.points3d[i] - known.points3d[i].mean(0)
        dots(side, 128 + 105 * truth[:, [2, 1]], np.full((len(truth), 3), 235))
        dots(side, 128 + 105 * (truth + error[i])[:, [2, 1]], colours(sigma[i]))
        dots(drawn, flat[i], colours(sigma[i]))
        columns.append(np.concatenate([known.images[i], drawn, side]))
    return np.concatenate(columns, 1)


def dots(image: np.ndarray, xy: np.ndarray, colour: np.ndarray) -> None:
    """Single pixels (n, 2) of `colour` (n, 3), where they lie in the picture."""
    at = np.round(xy).astype(int)
    inside = ((at >= 0) & (at < image.shape[0])).all(1)
    image[at[inside, 1], at[inside, 0]] = colour[inside]


def fitted(localizer: LandmarksLocalizer, known: KnownSet) -> Predict:
    """The landmarks' body, asked for the points of `known`."""
    body = localizer.body
    parts = [
        named_set(body, f"surface_{(~known.inner).sum()}"),
        named_set(body, f"volume_{known.inner.sum()}"),
    ]
    prepared = [localizer.prepare(s) for s in parts if s is not None]
    where = np.concatenate([s.points.positions for s in parts if s is not None])
    assert np.allclose(where, known.points, atol=1e-5), "the points are not those of the evaluation set"

    def predict(images, K, points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        whole = Roi(np.array([127.5, 127.5]), 256.0)
        subjects = [Subject(i, Camera(k, 256, 256), whole.box, whole) for i, k in zip(images, K, strict=True)]
        seen = [localizer.localize(subjects, p) for p in prepared]
        return (
            np.concatenate([s.points3d for s in seen], 1),
            np.concatenate([s.points2d for s in seen], 1),
            np.concatenate([s.uncertainty for s in seen], 1),
        )

    return predict


def look(video: Path, localizer: Localizer, points: PointSet, every: int) -> np.ndarray:
    """(n, P, 3) camera space, metres: the person of a clip on every `every`-th frame, NaN where nobody is followed."""
    prepared, out = localizer.prepare(points), []
    for index, people in enumerate(followed(video, localizer)):
        if index % every == 0:
            nobody = np.full((len(points), 3), np.nan)
            out.append(localizer.localize(people[:1], prepared).points3d[0] if people else nobody)
    return np.stack(out)


def followed(video: Path, localizer: Localizer, found: list | None = None):
    """Frame by frame those who are followed, the first first; `found` gets (frame, track, landmarks in space)."""
    tracker = PeopleTracker(PersonDetector("cpu"), max_people=2)
    with open_video(video) as clip:
        camera = Camera.from_fov(clip.width, clip.height)
        for frame in clip:
            rois = tracker.rois(frame)
            people = [Subject(frame.image, camera, r.person, r, tracker.expected(t)) for t, r in rois]
            seen = localizer.localize(people)
            flat = seen.points2d[:, localizer.landmarks]
            for i, (track, _) in enumerate(rois):
                anchors = None if seen.anchors2d is None else seen.anchors2d[i]
                tracker.update(track, flat[i], float(seen.score[i]), anchors)
            counted = tracker.settle()
            for i, (track, _) in enumerate(rois):
                if found is not None and track in counted:
                    found.append((frame.index, track, seen.points3d[i, localizer.landmarks]))
            yield people


def agreement(views: Sequence[np.ndarray]) -> dict[str, float]:
    """`views`: (n, P, 3) of each camera -> mean distance, mm, of their points from the mean of all, and of any two
    cameras' points from one another, after all were laid onto that mean."""
    n = min(len(v) for v in views)
    x = np.stack([v[:n] for v in views])
    x = x[:, np.isfinite(x).all((0, 2, 3))]
    mean = x[0]
    for _ in range(5):
        laid = np.stack([procrustes(v, mean) for v in x])
        mean = laid.mean(0)
    # The mean of views that do not agree is smaller than they are: bring it back to a person's size.
    size = np.mean([np.linalg.norm(v - v.mean(1, keepdims=True), axis=-1).mean() for v in x])
    grow = size / np.linalg.norm(mean - mean.mean(1, keepdims=True), axis=-1).mean()
    pairs = [np.linalg.norm(a - b, axis=-1).mean() for i, a in enumerate(laid) for b in laid[:i]]
    return {
        "from_mean_mm": float(1000 * grow * np.linalg.norm(laid - mean, axis=-1).mean()),
        "pairwise_mm": float(1000 * grow * np.mean(pairs)),
        "frames": x.shape[1],
    }


def unsteadiness(video: Path, localizer: Localizer) -> float:
    """Mean length, mm per frame², of the second difference of landmarks relative to their middle, of all tracks."""
    found: list[tuple[int, int, np.ndarray]] = []
    for _ in followed(video, localizer, found):
        pass
    lengths = []
    for track in {t for _, t, _ in found}:
        rows = {f: x - x.mean(0) for f, t, x in found if t == track}
        for f in rows:
            if f - 1 in rows and f + 1 in rows:
                lengths.append(np.linalg.norm(rows[f - 1] - 2 * rows[f] + rows[f + 1], axis=-1).mean())
    return float(1000 * np.mean(lengths))


def speed(video: Path, device: str, rival: str | None) -> dict[str, float]:
    """Pictures a second, looked at side by side on all cores."""
    with Hands(0) as hands:
        return _speed(video, FieldLocalizer(load_body(), LocalizerOptions(device, hands=hands)), rival)


def _speed(video: Path, field: FieldLocalizer, rival: str | None) -> dict[str, float]:
    with open_video(video) as clip:
        frames = [f.image for _, f in zip(range(8), clip, strict=False)]
    camera = Camera.from_fov(frames[0].shape[1], frames[0].shape[0])
    found = PersonDetector("cpu").detect(frames[:1])[0][0]
    first = field.localize([Subject(frames[0], camera, found.box, found.roi)])
    people = [Subject(i, camera, found.box, found.roi, first.points2d[0, field.landmarks]) for i in frames]
    asked = named_set(field.body, "surface_256")
    assert asked is not None
    prepared = field.prepare(asked)
    wall, cpu = [], []
    for _ in range(_ROUNDS):
        start, busy = time.perf_counter(), time.process_time()
        field.localize(people, prepared)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    out = {
        "points": float(len(prepared)),
        "field_fps": len(people) / float(np.median(wall)),
        "field_cpu_ms": 1000 * float(np.median(cpu)) / len(people),
    }
    if rival:
        arrays = run_rival(rival, video)
        out["mediapipe_fps"] = len(arrays["image"]) / float(arrays["seconds"])
        out["ratio"] = out["field_fps"] / out["mediapipe_fps"]
    return out


if __name__ == "__main__":
    main()
