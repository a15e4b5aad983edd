"""From localizations in chunks to the motion of each person over the whole clip. The door: `solve`."""
