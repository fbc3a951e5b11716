"""One file per asset kind. Each has the factory that builds the asset of a series."""
