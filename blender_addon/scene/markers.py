# SPDX-License-Identifier: GPL-3.0-or-later
"""Markers on the timeline that are ours: at cuts and where it is not sure who somebody is.

They carry the job, and go and come with it. A marker that the user renames is the user's, as are all others.
"""

from collections.abc import Sequence

import bpy

from .clip_keys import JOB_KEY

KIND_KEY, GIVEN_KEY = "bodyfield_kind", "bodyfield_given"
CUT, DOUBT = "cut", "doubt"


def ours(scene: bpy.types.Scene, job: str, kind: str) -> list[bpy.types.TimelineMarker]:
    """Those of one kind that a job has in a scene."""
    return [
        marker
        for marker in scene.timeline_markers
        if marker.get(JOB_KEY) == job
        and marker.get(KIND_KEY) == kind
        and marker.get(GIVEN_KEY) == marker.name
    ]


def _forget_gone(but: str) -> None:
    """Take away the markers of clips that the user has deleted; not of the job `but`, which may be on its way."""
    here = {c[JOB_KEY] for c in bpy.data.collections if JOB_KEY in c} | {but}
    for scene in bpy.data.scenes:
        for marker in [m for m in scene.timeline_markers if m.get(JOB_KEY, but) not in here]:
            if marker.get(GIVEN_KEY) == marker.name:
                scene.timeline_markers.remove(marker)


def put_markers(
    scene: bpy.types.Scene | None, job: str, kind: str, wanted: Sequence[tuple[str, float]]
) -> None:
    """Let a job have these markers (name, scene frame) of one kind in a scene, and in no other one."""
    places = [(name, round(frame)) for name, frame in wanted]
    _forget_gone(job)
    for other in bpy.data.scenes:
        have = ours(other, job, kind)
        if other == scene and [(m.name, m.frame) for m in have] == places:
            continue
        for marker in have:
            other.timeline_markers.remove(marker)
        if other == scene:
            for name, frame in places:
                marker = other.timeline_markers.new(name, frame=frame)
                marker[JOB_KEY], marker[KIND_KEY], marker[GIVEN_KEY] = job, kind, name
