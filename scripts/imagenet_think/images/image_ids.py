"""The image_id of a file name or a path."""

from pathlib import PurePosixPath

ENDINGS = {
    *(".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".avif", ".jp2", ".j2k", ".jpx", ".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
    *(".heic", ".heif", ".jxl"),  # of formats that are not read
    ".gz",
}
"""Endings of image files, in lower case, and that of a compressed file."""


def stem(member: str) -> str:
    """Return a member's name without folders and endings, even where there are two endings.

    Examples
    --------
    >>> stem("n00005787/n00005787_11054.JPEG.gz")
    'n00005787_11054'
    """
    # Called for 13 million names; pathlib would take eight times as long.
    name, _ = _split(member.rstrip("/").rpartition("/")[2])
    return _without_endings(name)


def _split(name: str) -> tuple[str, str]:
    """Split a file name into stem and suffix, as pathlib does (".JPEG" and "a." have no suffix)."""
    before, dot, ending = name.rpartition(".")
    return (before, dot + ending) if before and ending else (name, "")


def _without_endings(name: str) -> str:
    """Return a name or path without the endings of an image, in linear time for any number."""
    first, end = name.rfind("/") + 1, len(name)
    while first < (dot := name.rfind(".", first, end)) and name[dot:end].lower() in ENDINGS:
        end = dot
    return name[:end]


def relative_path(name: str) -> str:
    """Return a path without the endings of an image; any other dot belongs to the name.

    Examples
    --------
    >>> relative_path("cats/holiday.2019.JPG"), relative_path("cats/holiday.2019")
    ('cats/holiday.2019', 'cats/holiday.2019')
    """
    return _without_endings(str(PurePosixPath(name)))


def file_name(name: str) -> str:
    """Return `relative_path` without its folders.

    Examples
    --------
    >>> file_name("n00005787/n00005787_11054.webp"), file_name("train-0.2_17")
    ('n00005787_11054', 'train-0.2_17')
    """
    return relative_path(PurePosixPath(name).name)
