"""Inference: models, engines, and the journal of their responses."""
