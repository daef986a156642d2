"""Figures as SVG, one kind a file; each is drawn from a table that stands beside it."""
