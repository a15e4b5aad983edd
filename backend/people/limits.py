"""How far people may be from where they are expected, and how near to each other, for the tracker to believe it."""

from __future__ import annotations

# Distances are parts of a person's size.
SAME = 0.45
"""A find belongs to a track when its hips and shoulders are nearer than this on the average."""
COLLAPSED = 0.15
"""Two tracks are on one person when their landmarks are nearer than this on the average."""
COLLAPSED_NEW = 0.35
"""The same, when one of them is a newcomer."""
NEAR_TRACK = 0.25
"""A find whose hips or shoulders are so near to somebody's must be beyond doubt."""
BEYOND_DOUBT = 0.7
"""Least score of a find that is."""
JUMP = 0.45
"""A body farther than that from the expected one is someone else's."""
DRIFT = 3.0
"""A second, by which these two grow for somebody who was seen longer than `MOMENT_S` ago."""
FOREIGN = 2.0
"""Looks are believed where one answer is so much likelier than the other, natural logarithm (`people.looks`)."""
FASTEST = 6.0
"""Most that anybody is believed to move in a second."""
MIN_INSIDE = 0.2
"""Share of landmarks that must lie in the picture."""
