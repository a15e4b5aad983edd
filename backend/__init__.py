"""Bodyfield's backend: frames -> people -> points -> body -> motion. Start reading at `pipeline`."""
