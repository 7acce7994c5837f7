"""What the pipeline's scripts share, one concept a module."""
