"""Programs to learn from: the demo, and small uses of the SDK."""
