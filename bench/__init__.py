"""Benchmarks: one script a claim. Each takes --seed and --json FILE and prints ratios against a named rival."""
