"""Parts of `bench.people`: rendered crowds, figures of tracking, and rivals."""
