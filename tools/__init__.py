"""Makers of the files that are shipped. Not part of the product: they need packages that it does not."""
