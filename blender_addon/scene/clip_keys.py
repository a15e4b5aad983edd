# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom properties by which we know what we made, in this file and in any that it is saved to."""

JOB_KEY, TRACK_KEY = "bodyfield_job", "bodyfield_track"
"""On collections and objects: the backend's id of the job; on objects: the person's track, 0 for the camera."""
WORLD_KEY, RATE_KEY, SOURCE_KEY = "bodyfield_world", "bodyfield_fps", "bodyfield_source"
"""On a clip's collection: its shift (3) and level (9), see `axes.camera_to_world`; frames per second; its file."""
DONE_KEY = "bodyfield_done"
"""On a clip's collection once everything of its job is in it."""
ROOT_KEY, ROOT_BONE = "bodyfield_root", "root"
"""On an armature whose way over the floor is on a root bone, and that bone's name."""
BETAS_KEY = "bodyfield_betas"
"""On an armature: the shape that was fitted."""
