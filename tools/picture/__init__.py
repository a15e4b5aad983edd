"""Draws fitted bodies for the README's moving picture: light, views and the file."""
