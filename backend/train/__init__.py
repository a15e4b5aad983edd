"""Training of localizer fields. Needs the extra `train` (`pip install bodyfield[train]`)."""
