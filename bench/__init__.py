"""Benchmarks: one script a claim. Each takes --seed and --json FILE and prints ratios against a named rival."""

from blender_addon.shared.threads import give_way

# Before a bench, or what it starts, loads torch: it measures the product as it runs.
give_way()
