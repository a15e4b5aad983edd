"""Tests of official weights."""
