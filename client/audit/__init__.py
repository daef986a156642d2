"""The audit of a cohort and its split: one kind of check a file."""
