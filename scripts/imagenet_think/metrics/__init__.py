"""The metrics that compare two texts."""
