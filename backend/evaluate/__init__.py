"""How good are we: errors against marks set by hand, other cameras, and bodies that are known."""
