"""Tuning: candidates for a learner's settings, compared by folds over all sites, and the best."""
