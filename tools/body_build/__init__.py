"""Build steps of `tools/make_body.py`. Not part of the product: needs `anny` and `scipy`."""
