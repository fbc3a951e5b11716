"""One file an asset kind, each with the factory that makes the asset of a series."""
