"""People in pictures and canonical points in, 3D points out. Doors: `contract`, `choose.create_localizer`."""
