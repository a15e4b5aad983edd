"""Parts of `bench.camera`: clips from cameras whose way is known."""
