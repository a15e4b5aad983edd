"""The rival: ByteTrack, or SORT, of the `trackers` library (Apache-2.0) on the finds that are given. It runs as
`python rival.py IN.npz OUT.npz`, in an environment that has that library."""

from __future__ import annotations

import sys

import numpy as np


def main(source: str, target: str) -> None:
    """`source`: frames (k,), boxes (k, 4) x, y, w, h, scores (k,), count, fps; `target`: ids of each find by each
    rival, -1 for none."""
    import supervision as sv
    from trackers import ByteTrackTracker, SORTTracker

    d = np.load(source)
    out = {}
    fps, count = float(d["fps"]), int(d["count"])
    # As long as ours waits for somebody who is hidden.
    kinds = {
        "bytetrack": ByteTrackTracker(
            lost_track_buffer=round(5.0 * 30), frame_rate=fps, minimum_consecutive_frames=1
        ),
        "sort": SORTTracker(lost_track_buffer=round(5.0 * 30), frame_rate=fps, minimum_consecutive_frames=1),
    }
    for name, tracker in kinds.items():
        ids = np.full(len(d["frames"]), -1)
        for i in range(count):
            rows = np.flatnonzero(d["frames"] == i)
            boxes = d["boxes"][rows].astype(float)
            finds = sv.Detections(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1).reshape(-1, 4),
                                  confidence=d["scores"][rows].astype(float), class_id=np.zeros(len(rows), int),
                                  data={"row": rows})  # fmt: skip
            if not len(rows):
                finds = sv.Detections.empty()
            seen = tracker.update(finds)
            if len(seen) and "row" in seen.data:
                ids[np.asarray(seen.data["row"], int)] = np.asarray(seen.tracker_id, int)
        out[name] = ids
    np.savez(target, **out)


if __name__ == "__main__":
    main(*sys.argv[1:3])
