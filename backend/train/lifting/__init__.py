"""Training the lifter, which guesses points in space from bodies alone, without pictures."""
