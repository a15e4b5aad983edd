# SPDX-License-Identifier: GPL-3.0-or-later
"""Panel, settings and preferences."""
