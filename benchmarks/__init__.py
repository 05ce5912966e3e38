"""What tendhost costs, measured against named baselines in the same run."""
