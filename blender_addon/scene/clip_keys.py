# SPDX-License-Identifier: GPL-3.0-or-later
"""Custom properties by which we know what we made, in this file and in any that it is saved to."""

JOB_KEY, TRACK_KEY = "bodyfield_job", "bodyfield_track"
"""On collections and objects: the backend's id of the job; on objects: the person's track, 0 for the camera."""
WORLD_KEY, RATE_KEY, SOURCE_KEY = "bodyfield_world", "bodyfield_fps", "bodyfield_source"
"""On a person's armature, and on a clip's collection for its first shot: shift (3) and level (9), see
`axes.camera_to_world`; on the collection: frames per second; its file."""
SHOTS_KEY, TIMES_KEY = "bodyfield_shots", "bodyfield_times"
"""On a clip's collection: what was found of its shots, JSON, see `shots.Told`; and where the rate varies, the seconds
of all its frames."""
SHOT_KEY, PERSON_KEY, NAME_KEY = "bodyfield_shot", "bodyfield_continues", "bodyfield_name"
"""On an armature: the shot that the person is in; the track that this one continues, 0 for none; the object's name as
we gave it last."""
FRAMES_KEY, DOUBTFUL_KEY = "bodyfield_frames", "bodyfield_doubtful"
"""On an armature: in how many frames the person is known, and in how many of them it is not sure who it is."""
EDITS_KEY, EXCLUDED_KEY = "bodyfield_edits", "bodyfield_excluded"
"""On a clip's collection: the corrections of its people, JSON, see `edits`; on the collection in it that holds whoever
was excluded: the job."""
DONE_KEY = "bodyfield_done"
"""On a clip's collection once everything of its job is in it."""
ROOT_KEY, ROOT_BONE = "bodyfield_root", "root"
"""On an armature whose way over the floor is on a root bone, and that bone's name."""
FLOOR_KEY = "bodyfield_floor"
"""On an armature whose floor is known: its height in the armature's own space, metres; 0 until it is snapped to it."""
BETAS_KEY = "bodyfield_betas"
"""On an armature: the shape that was fitted."""
FOLLOWS_KEY = "bodyfield_follows"
"""On an armature whose bones follow a person's tracked points."""
