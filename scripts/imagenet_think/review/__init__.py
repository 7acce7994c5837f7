"""Human review of responses."""
