"""Training the temporal network from motion capture alone: simulated cameras, simulated errors of the localizer."""
