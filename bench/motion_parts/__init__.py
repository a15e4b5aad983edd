"""The parts of `bench.motion`."""
