"""The populations that intervals can be about."""

FIXED, DRAWN = "fixed", "drawn"
"""Other images of the same classes; other classes as well."""

LEAST = 10
"""Number of classes below which there is no interval for drawn classes. For fixed classes as many
images are needed, and one more for each further class: 9 degrees of freedom in both cases."""
