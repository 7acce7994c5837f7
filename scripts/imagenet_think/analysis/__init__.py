"""Statistics over images."""
