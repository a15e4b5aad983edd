# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel's words in other languages."""
