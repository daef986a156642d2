"""Where cohorts come from: the official archives, or a procedural generator."""
