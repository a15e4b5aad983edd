"""Points of the body as a user writes them: entries, tables and files. The door: `file.read_points`."""
