"""Images: where they come from, which are accepted, and how they are stored."""
