"""What runs inside a hospital: opens the private cohort, extracts features, contributes sums."""
