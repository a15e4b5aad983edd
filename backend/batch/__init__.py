"""Clips without Blender: one job, run to its end in this process. The door: `clip.run_clip`."""
