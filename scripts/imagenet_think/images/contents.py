"""What a file holds that is not what it is taken for, by its first bytes."""

import re
from pathlib import Path

SHOWN = 16
"""First bytes of a file that are enough for `described`."""

_IMAGE = "convert it to PNG or JPEG, for instance with ImageMagick (`magick in out.png`)"
_UNPACK = "decompress it, or pack the images as an uncompressed tar"
_AGAIN = "download the file again"

_FORMATS: list[tuple[str, bytes, str]] = [
    ("HEIC", rb"....ftyp(hei[cmxs]|hev[cmx])", _IMAGE),
    ("HEIF or AVIF of unknown coding", rb"....ftyp(mif1|msf1)", _IMAGE),
    ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL ", _IMAGE),
    ("Photoshop", rb"8BP[SB]", _IMAGE),
    ("OpenEXR", rb"v/1\x01", _IMAGE),
    ("Radiance HDR", rb"#\?RADIANCE", _IMAGE),
    ("Windows icon", rb"\0\0[\x01\x02]\0", _IMAGE),
    ("DirectDraw", rb"DDS ", _IMAGE),
    ("QOI", rb"qoif", _IMAGE),
    ("FITS", rb"SIMPLE  =", _IMAGE),
    ("GIMP", rb"gimp xcf", _IMAGE),
    ("Fujifilm raw", rb"FUJIFILM", _IMAGE),
    ("Canon raw", rb"....ftypcrx ", _IMAGE),
]
"""Formats of images that are not read: name, beginning (a pattern), and what to do."""

_OTHERS: list[tuple[str, bytes, str]] = [
    ("gzip-compressed", rb"\x1f\x8b", _UNPACK),
    ("bzip2-compressed", rb"BZh", _UNPACK),
    ("xz-compressed", rb"\xfd7zXZ\0", _UNPACK),
    ("zstd-compressed", rb"\x28\xb5\x2f\xfd", _UNPACK),
    ("a zip archive", rb"PK\x03\x04|PK\x05\x06", _UNPACK),
    ("a 7z archive", rb"7z\xbc\xaf", _UNPACK),
    ("a RAR archive", rb"Rar!", _UNPACK),
    ("SVG or other XML", rb"<\?xml|<svg", _IMAGE),
    ("PostScript", rb"%!PS", _IMAGE),
    ("PDF", rb"%PDF", _IMAGE),
    ("a video", rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI", "export an image from it"),
    ("an HTML page, often instead of a failed download", rb"(?i)\s*<(!doctype|html)", _AGAIN),
    ("a pointer to a file in Git LFS", rb"version https://", "run `git lfs pull`"),
    ("zeros", rb"\0{16}", _AGAIN),
]


def unread_format(start: bytes) -> str | None:
    """Return the image format, not read here, that a file begins like, and what to do; or None.

    Examples
    --------
    >>> unread_format(b"8BPS")[:15]
    'Photoshop, whic'
    """
    if named := _first(start, _FORMATS):
        return f"{named[0]}, which is not read: {named[1]}"
    return None


def described(start: bytes) -> str | None:
    """Return what else a file is, and what to do; None if that is not known.

    Examples
    --------
    >>> described(b"PK\\x03\\x04")
    'a zip archive: decompress it, or pack the images as an uncompressed tar'
    """
    named = _first(start, _OTHERS)
    return named and f"{named[0]}: {named[1]}"


def described_file(path: str | Path) -> str | None:
    """Return what a file is (see `described`)."""
    with open(path, "rb") as file:
        return described(file.read(SHOWN))


def _first(start: bytes, table: list[tuple[str, bytes, str]]) -> tuple[str, str] | None:
    for name, pattern, advice in table:
        if re.match(pattern, start, re.DOTALL):
            return name, advice
    return None
