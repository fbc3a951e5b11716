"""How fast and how small the project is, measured; `make bench` prints it."""
