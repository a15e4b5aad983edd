# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for other programs: FBX, glTF, BVH, USD and AMASS. No operators here."""
