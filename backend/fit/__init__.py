"""Points become a body. Doors: `bodyfitter.BodyFitter` (points of any origin), `camerafitter.Fitter` (a clip)."""
