# SPDX-License-Identifier: Apache-2.0
"""What add-on and backend both need; the one folder that both import. Standard library, numpy and av only."""
