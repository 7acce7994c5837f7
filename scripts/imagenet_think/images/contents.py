"""What a file holds that is not what it is taken for, by its first bytes."""

import re
from pathlib import Path

SHOWN = 16
"""First bytes of a file that are enough for `described`."""

_IMAGE = "convert it to PNG or JPEG, for instance with ImageMagick (`magick in out.png`)"
_UNPACK = "decompress it, or pack the images as an uncompressed tar"
_AGAIN = "download the file again"

_FORMATS: dict[str, bytes] = {
    "HEIC": rb"....ftyp(hei[cmxs]|hev[cmx])",
    "HEIF or AVIF of unknown coding": rb"....ftyp(mif1|msf1)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "Photoshop": rb"8BP[SB]",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?RADIANCE",
    "Windows icon": rb"\0\0[\x01\x02]\0",
    "DirectDraw": rb"DDS ",
    "QOI": rb"qoif",
    "FITS": rb"SIMPLE  =",
    "GIMP": rb"gimp xcf",
    "Fujifilm raw": rb"FUJIFILM",
    "Canon raw": rb"....ftypcrx ",
}
"""Formats of images that are not read, and how their files begin (a pattern)."""

_OTHERS = [
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
    ("an HTML page, as a failed download leaves", rb"(?i)\s*<(!doctype|html)", _AGAIN),
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
    for name, pattern in _FORMATS.items():
        if re.match(pattern, start, re.DOTALL):
            return f"{name}, which is not read: {_IMAGE}"
    return None


def described(start: bytes) -> str | None:
    """Return what else a file is, and what to do; None if that is not known.

    Examples
    --------
    >>> described(b"PK\\x03\\x04")
    'a zip archive: decompress it, or pack the images as an uncompressed tar'
    """
    for name, pattern, advice in _OTHERS:
        if re.match(pattern, start, re.DOTALL):
            return f"{name}: {advice}"
    return None


def described_file(path: str | Path) -> str | None:
    """Return what a file is (see `described`)."""
    with open(path, "rb") as file:
        return described(file.read(SHOWN))
