"""What both ends of a federation agree on: cohort, split, features, learners, metrics, messages."""
