"""The commands that a hospital uses."""
