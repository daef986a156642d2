"""The lab: the Ray-driven federation, the pooled oracle, studies and their reports."""
