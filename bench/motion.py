"""Bodies over time: do they stand on the floor, steady, with planted feet? Clips of known truth, and real ones.

Held-out performers of the motion file, put on our body before a camera, are seen by a simulated localizer whose errors
are those of *field* as measured on rendered people (`bench/motion_parts/errors.npz`, made by `--measure`). On the same
localizations compete: ours; ours without floor and foot lock, or an older checkout (`--before CHECKOUT`); a One-Euro
filter and a Savitzky-Golay filter on the bodies fitted frame by frame, both with contacts by height and speed and feet
held by two-bone IK. Rivals are also compared at the jerk that ours has, by a sweep of their strength.

    python -m bench.motion --motion cmu_30fps.npz --seed 0 --json out.json
    python -m bench.motion --motion cmu_30fps.npz --rendered 5
    python -m bench.motion --real FOLDER_WITH_cam01..04_AND_Calib.qca.txt [--landmarks FILE]
    python -m bench.motion --soles VIDEO...
    python -m bench.motion --look VIDEO OUT.mp4
"""

from __future__ import annotations

from pathlib import Path

from backend.body.load import load_body
from backend.body.native import native_points
from backend.localizers.field.localizer import SURFACE
from bench.motion_parts.capture import Capture
from bench.motion_parts.clips import takes
from bench.motion_parts.contest import contest, table
from bench.motion_parts.errors import ErrorModel
from bench.report import finish, parser

ERRORS = Path(__file__).parent / "motion_parts" / "errors.npz"


def main() -> None:
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--motion", type=Path, help="cmu_30fps.npz")
    p.add_argument("--clips", type=int, default=42, help="synthetic clips with simulated localizations")
    p.add_argument(
        "--rendered", type=int, default=0, metavar="N", help="clips that go through the real localizer"
    )
    p.add_argument("--before", type=Path, metavar="CHECKOUT", help="an older checkout to compare with")
    p.add_argument(
        "--measure", type=int, metavar="N", help="measure the localizer's errors anew on N rendered clips"
    )
    p.add_argument("--errors", type=Path, default=ERRORS, help="measured errors of the localizer")
    p.add_argument("--real", type=Path, metavar="FOLDER", help="cam01.mp4 … cam04.mp4 and Calib.qca.txt")
    p.add_argument(
        "--landmarks", type=Path, help="for --real: npz of 2D landmarks L1 … L4 of another network"
    )
    p.add_argument(
        "--soles", type=Path, nargs="+", metavar="VIDEO", help="heights of standing people's soles"
    )
    p.add_argument(
        "--look", type=Path, nargs=2, metavar=("VIDEO", "OUT"), help="write a video to judge by eye"
    )
    args = p.parse_args()
    figures: dict = {"seed": args.seed}
    if args.measure:
        from bench.motion_parts.rendered import measure_errors

        measure_errors(args.motion, args.seed, args.measure, args.errors)
    elif args.look:
        from bench.motion_parts.look import look

        look(*args.look)
    elif args.soles:
        from bench.motion_parts.videos import soles

        figures["soles"] = {v.name: soles(v) for v in args.soles}
    elif args.real:
        from bench.motion_parts.real import real

        figures["real"] = real(args.real, args.landmarks)
    else:
        figures |= synthetic(args)
    finish(figures, args.json)


def synthetic(args) -> dict:
    """The contest on clips of known truth."""
    body = load_body()
    points = native_points(body, SURFACE)
    capture = Capture(args.motion)
    if args.rendered:
        from bench.motion_parts.rendered import rendered_takes

        clips = rendered_takes(capture, body, points, args.seed, args.rendered)
    else:
        clips = takes(capture, body, points, ErrorModel.load(args.errors), args.seed, args.clips)
    figures = contest(clips, body, points, args.before)
    print(table(figures))
    return figures


if __name__ == "__main__":
    main()
