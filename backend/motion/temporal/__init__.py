"""What is known of a body from how it moves: a network over time, learnt from motion capture. The door: `model.Motion
Model`."""
