"""Rows in journals."""

from imagenet_think.inference.journal import read_lines


def journal_rows(*paths):
    """Return the rows of the responses in journals, in their order."""
    lines = (line for path in paths for line in read_lines(path))
    return [line["row"] for line in lines if line["kind"] == "response"]
