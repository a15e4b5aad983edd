# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of earlier sessions, as the panel lists them."""

import time

import bpy

from ..link import jobstore
from ..link.jobstore import StoredJob
from ..scene.clip_keys import DONE_KEY, JOB_KEY
from . import running

FRESH_S = 2.0
"""A panel is drawn many times a second; the list is read from the disk no more often than this."""
_seen: list[StoredJob] = []
_seen_at = -FRESH_S


def earlier_jobs() -> list[StoredJob]:
    """What can be resumed, and results that are not in this file, newest first."""
    global _seen, _seen_at
    if time.monotonic() - _seen_at >= FRESH_S:
        _seen, _seen_at = jobstore.stored_jobs(), time.monotonic()
    whole = {c.get(JOB_KEY) for c in bpy.data.collections if c.get(DONE_KEY)}
    now = running.current()
    at_work = now.job_id if now is not None else None
    return [
        job
        for job in _seen
        if job.id != at_work and (job.resumable or (job.finished and job.id not in whole))
    ]


def look_again() -> None:
    """Let the next `earlier_jobs` read the list from the disk."""
    global _seen_at
    _seen_at = -FRESH_S
