"""The documentation: its generated reference, its site, its pictures, its snippets."""
