"""`--localizer landmarks-heavy|full|lite`: BlazePose's 33 landmarks. The door: `localizer.LandmarksLocalizer`."""
