"""Points thought of after the clip was seen: from the fitted body and from what the localizer kept."""
