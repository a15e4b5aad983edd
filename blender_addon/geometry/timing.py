# SPDX-License-Identifier: GPL-3.0-or-later
"""From clip time to Blender's frame numbers and rates. No bpy."""

import numpy as np

FIRST_FRAME = 1
"""Scene frame of the clip's first picture, Blender's own habit."""


def blender_rate(fps: float) -> tuple[int, float]:
    """(fps, fps_base) of a scene: 25 -> (25, 1.0); 29.97 -> (30, 1.001); 14.8 -> (15, 15/14.8)."""
    whole = max(1, min(round(fps), 32767))
    for base in (1.0, 1.001):
        # Files state 30000/1001 as 29.97 or 29.970, so the match is loose to one part in 20 000.
        if abs(whole / base - fps) < 5e-5 * fps:
            return whole, base
    return whole, whole / fps


def scene_frames(frames: np.ndarray, times: np.ndarray, fps: float) -> np.ndarray:
    """(n,) clip frame numbers and (n,) seconds -> (n,) float64 scene frames, the first picture at 1.

    At a constant rate these are frame number + 1. When any time leaves its frame's place by more than a
    quarter of a frame the rate is variable, and every key stands at its true time, between frames if need be.
    """
    frames, times = np.asarray(frames, np.float64), np.asarray(times, np.float64)
    by_time = times * fps
    if len(frames) == 0 or np.abs(by_time - frames).max() < 0.25:
        return frames + FIRST_FRAME
    return by_time + FIRST_FRAME


def hidden_spans(frames: np.ndarray, places: np.ndarray, last: float) -> tuple[np.ndarray, np.ndarray]:
    """When somebody is not to be shown. -> (k,) scene frames, (k,) whether he is hidden from there on.

    `frames`: (n,) the clip's frames in which he is known, n > 0; `places`: (n,) their scene frames, see `scene_frames`;
    `last`: the scene frame at which the clip ends. Hiding begins at the whole frame after the last one that is known.
    """
    changes = [(FIRST_FRAME, True)] if places[0] > FIRST_FRAME + 0.5 else []
    changes.append((float(places[0]), False))
    for row in np.flatnonzero(np.diff(frames) > 1):
        away, back = np.floor(places[row]) + 1, float(places[row + 1])
        if away < back:
            changes += [(away, True), (back, False)]
    if places[-1] < last - 0.5:
        changes.append((np.floor(places[-1]) + 1, True))
    at, hidden = zip(*changes, strict=True)
    return np.array(at, np.float64), np.array(hidden, bool)
