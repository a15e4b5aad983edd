"""Readers of published datasets: each file knows one layout, and all give the same records to the same streams.

Nothing is downloaded and nothing of a dataset is shipped: users bring their own copies under their own licences. See
docs/datasets.md.
"""
