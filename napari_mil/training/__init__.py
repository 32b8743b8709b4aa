"""Training: cohort table and splits, losses, fit, metrics."""
