"""`--localizer field`: our own localizer, for any canonical point. The door: `localizer.FieldLocalizer`."""
