"""The embedded miniature: drawings and small models."""
