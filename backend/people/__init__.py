"""Who is in the picture, and who is who. Doors: `detect.PersonDetector`, `follow.PeopleTracker`."""
