# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators, and what they share."""
