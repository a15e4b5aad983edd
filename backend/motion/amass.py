"""One person's motion as an AMASS-style npz file, which SMPL-X add-ons and research code read.

Keys as in AMASS (SMPL-X variant): gender, surface_model_type, mocap_frame_rate, mocap_time_length, trans (n, 3),
poses (n, 165), betas, root_orient, pose_body, pose_hand, pose_jaw, pose_eye; fewer numbers for a body of SMPL-H (156)
or SMPL (72), as surface_model_type says; plus expressions (some readers fail without), times (n,), frames (n,),
joint_uncertainty (n, 55), contacts (n, 8) 0..1 for the names in contact_names, bridged (n,) 1 where the person was not
seen for a moment, floor (1,), its height in the file's axes (0, or NaN where it is not known), and body, which says
whose betas these are.
A row for each frame from the first to the last, for readers count on an even rate: where the person was not seen for
long, rows hold NaN, but for times and frames.
World axes: z up, metres, the floor at height 0, or the lowest foot of the shot where no floor is known; the shot's
first person starts at the origin, the camera looks along +y in the shot's first frame (level, when the clip tells how
it was tilted). `shot`, `person`: see `TrackMotion`; `doubtful` (n,): 1 where it is not sure that this is the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from backend.body.model import Body
from backend.files.whole import write_aside
from backend.records import TrackMotion
from blender_addon.shared.axes import (
    CAMERA_TO_SMPL,
    SMPL_TO_BLENDER,
    amass_poses,
    level_rotation,
    matrix_to_rotvec,
    rotvec_to_matrix,
    world_shift,
)
from blender_addon.shared.filenames import person_names
from blender_addon.shared.motion import CONTACTS


def amass_arrays(motion: TrackMotion, body: Body, fps: float, shift: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of the file. `shift`: see `blender_addon.shared.axes.world_shift`."""
    level = SMPL_TO_BLENDER @ level_rotation(motion.up) @ CAMERA_TO_SMPL
    pose = motion.pose.astype(np.float64).copy()
    pose[:, 0] = matrix_to_rotvec(level @ rotvec_to_matrix(pose[:, 0]))
    rest = body.joints_template[0] + body.joints_shapedirs[0][:, : len(motion.betas)] @ motion.betas
    # SMPL-X turns about the pelvis and then adds trans: carry the pelvis over, not trans itself.
    trans = (motion.trans + rest) @ level.T + SMPL_TO_BLENDER @ shift - rest
    known = motion.frames
    frames = np.arange(known[0], known[-1] + 1, dtype=known.dtype)
    bridged = np.zeros(len(frames), np.uint8)
    bridged[known - known[0]] = motion.bridged
    return {
        "gender": np.array("neutral"),
        "body": np.array("bodyfield-open" if body.name == "open" else body.name),
        "mocap_frame_rate": np.float64(fps),
        "mocap_time_length": np.float64(motion.times[-1] - motion.times[0] + 1 / fps),
        "trans": _even(known, trans.astype(np.float32)),
        **amass_poses(_even(known, pose), body.name),
        "betas": motion.betas.astype(np.float32),
        "num_betas": np.int64(len(motion.betas)),
        "expressions": _even(known, motion.expression.astype(np.float32)),
        "times": np.interp(frames, known, motion.times),
        "frames": frames,
        "joint_uncertainty": _even(known, motion.joint_uncertainty.astype(np.float32)),
        "contacts": _even(known, motion.contacts.astype(np.float32)),
        "contact_names": np.array(CONTACTS),
        "bridged": bridged,
        "doubtful": _even(known, motion.doubtful.astype(np.float32)),
        "shot": motion.shot,
        "person": motion.person,
        "floor": np.where(np.isfinite(motion.floor), np.float32(0), np.float32(np.nan)),
    }


def _even(frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` (n, …) of `frames` (n,), rising, as rows of every frame between them too, NaN where none is given."""
    out = np.full((frames[-1] + 1 - frames[0], *values.shape[1:]), np.nan, values.dtype)
    out[frames - frames[0]] = values
    return out


def write_amass(
    motions: list[TrackMotion], body: Body, fps: float, folder: Path, stem: str,
    names: Mapping[int, str] | None = None,
) -> list[Path]:  # fmt: skip
    """One file each, `<stem>_person<id>.npz`, or `<stem>_<name>.npz` for whoever is in `names` (track -> name), whole
    or not at all. Raises JobError("cannot_write")."""
    called = person_names((m.track for m in motions), names or {})
    shifts = {}
    for number in {int(m.shot[0]) for m in motions}:
        here = [m for m in motions if int(m.shot[0]) == number]
        shifts[number] = world_shift([m.joints for m in here], level_rotation(here[0].up), here[0].floor)
    paths = []
    for motion in motions:
        path = folder / f"{stem}_{called[motion.track]}.npz"
        arrays = amass_arrays(motion, body, fps, shifts[int(motion.shot[0])])
        write_aside(path, lambda out, arrays=arrays: np.savez_compressed(out, **arrays))
        paths.append(path)
    return paths
