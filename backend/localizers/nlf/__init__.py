"""The official NLF architecture, for the user's own weights. The door: `localizer.NeuralLocalizer`."""
