# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodyfield: video in, an animated body out."""
