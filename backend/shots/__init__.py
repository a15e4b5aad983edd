"""Shots of a film: where one ends and the next begins."""
