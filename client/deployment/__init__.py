"""A site that takes part: its settings and bounds, what answers for it, and its audit trail."""
