"""Bodyfield's backend: frames -> people -> points -> body -> motion. Start reading at `pipeline`."""

from blender_addon.shared.threads import give_way

# Before anything here loads torch.
give_way()
