"""The chunks of a PNG file, as far as they determine its pixels (PNG specification, third edition).

Pillow neither verifies the checksums of image data nor tolerates broken metadata.
"""

import struct
import zlib
from collections.abc import Iterator

from imagenet_think.images.rejections import RejectionError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_PROFILE = 2**26
"""Bytes to which a colour profile, or metadata with an orientation, may be decompressed."""

_ANCILLARY = (b"tRNS", b"iCCP", b"eXIf")
"""Chunks that are not critical and change how the image is shown: they are kept."""

_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTED = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Keywords of texts that may hold an orientation: they are kept too."""

_HARMLESS = {
    *(b"cHRM", b"gAMA", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"bKGD", b"hIST", b"pHYs"),
    *(b"sPLT", b"tIME", b"oFFs", b"sCAL", b"pCAL", b"sTER", b"acTL", b"fcTL", b"fdAT"),
    *_TEXTS,
}
"""Chunks that are dropped even if their checksum is wrong."""

_AROUND = 12
"""Bytes of a chunk's length, type and checksum."""

_STEP = 2**20


def pixels(data: bytes) -> bytes:
    """Return a PNG with only those of its chunks that determine how its image is shown.

    A file whose end mark is missing, or cut off in a chunk that is dropped, is complete.

    Raises
    ------
    RejectionError
        `undecodable` if the file ends in a chunk that is needed, if a checksum is wrong, or if what
        should be a chunk is none.
    """
    kept = [SIGNATURE]
    for kind, length, chunk in _chunks(data):
        if kind in _TEXTS:
            needed = chunk[8:].startswith(_ORIENTED)
        else:
            needed = kind in _ANCILLARY or not kind[0] & 0x20  # critical: a capital letter
        if not needed and kind in _HARMLESS:
            continue
        if len(chunk) < length + _AROUND:
            raise RejectionError("undecodable", f"PNG: cut short in {kind.decode()}")
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
            raise RejectionError("undecodable", f"PNG: wrong checksum of {kind.decode()}")
        if needed and (kind != b"iCCP" or _is_profile(chunk[8:-4])):
            kept.append(chunk)
    kept.append(struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")))
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield type, length of the content and all bytes of each chunk before the end mark.

    The last one may be cut short.
    """
    place = len(SIGNATURE)
    while len(data) - place >= 8:
        length, kind = struct.unpack_from(">I4s", data, place)
        if not kind.isalpha():
            raise RejectionError("undecodable", f"PNG: no chunk at byte {place}")
        if kind == b"IEND":
            return
        yield kind, length, data[place : place + length + _AROUND]
        place += length + _AROUND


def _is_profile(content: bytes) -> bool:
    """Return whether the content of iCCP is a name and a profile that can be decompressed."""
    _, _, rest = content.partition(b"\0")
    stream = zlib.decompressobj()
    try:
        stream.decompress(rest[1:], MAX_PROFILE)
    except zlib.error:
        return False
    return rest.startswith(b"\0") and stream.eof


def require_all_data(data: bytes, most: int) -> None:
    """Reject a PNG whose compressed image data are not complete (`undecodable`).

    `most` is the largest number of bytes to which they may be decompressed.
    """
    stream = zlib.decompressobj()
    size = 0
    try:
        for kind, _, chunk in _chunks(data):
            rest = chunk[8:-4] if kind == b"IDAT" else b""
            while rest and not stream.eof and size <= most:
                size += len(stream.decompress(rest, _STEP))
                rest = stream.unconsumed_tail
    except zlib.error as error:
        raise RejectionError("undecodable", f"PNG: {error}") from error
    if size > most:
        raise RejectionError("undecodable", f"PNG: more than {most} bytes of image data")
    if not stream.eof:
        raise RejectionError("undecodable", "PNG: image data are cut short")
