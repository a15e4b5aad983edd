"""How a camera sees: the pinhole (`pinhole`), crops turned towards a person (`turned`), lenses and sampling."""
