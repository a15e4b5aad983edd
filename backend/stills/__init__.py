"""Single pictures, without time. The door: `localize.localize`."""
