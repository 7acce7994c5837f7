"""Class archives (tar): the offset of each member, and its bytes, without unpacking."""

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imagenet_think.images import contents
from imagenet_think.images.rejections import RejectionError
from imagenet_think.images.sources import Entry, Read

MAX_BYTES = 2**28
"""Largest member that is read, and largest content a gzip-compressed member may have (256 MiB)."""

_GZIP = b"\x1f\x8b"
_MAX_HEADER = 2**20  # bytes; real ones have hundreds


def safe_name(name: str) -> bool:
    """Return whether a member's name is a file inside the folder it would be unpacked to.

    Examples
    --------
    >>> [safe_name(name) for name in ("./a/b.JPEG", "../b.JPEG", "/etc/b.JPEG", "a/..")]
    [True, False, False, False]
    """
    parts = name.split("/")
    return bool(parts[0]) and ".." not in parts and parts[-1] not in ("", ".")


class _Headers(io.RawIOBase):
    """An archive as tarfile reads it, header by header, in small reads only.

    The length of a GNU long name or PAX header is taken from the archive, and may claim gigabytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Tar(tarfile.TarFile):
    members: list[tarfile.TarInfo]  # every header that was read


def entries(file: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Yield each header of an uncompressed tar, and the offset at which the next one begins.

    When the next header is requested, the file must be at that offset or before it.

    Raises
    ------
    tarfile.TarError, ValueError, RecursionError
        If the tar is damaged. (tarfile follows a chain of long names by recursion.)
    """
    with _Tar.open(
        fileobj=_Headers(file), mode="r:", encoding="utf-8", errors="surrogateescape"
    ) as archive:
        while (entry := archive.next()) is not None:
            archive.members.clear()  # or tarfile would keep them all
            if entry.size < 0:
                raise tarfile.ReadError(f"negative size of {entry.name!r}")
            yield entry, archive.offset


def list_members(path: str | Path) -> Iterator[Entry]:
    """Yield the members of an uncompressed tar in their order; only headers are read.

    Folders are skipped. What cannot be used, such as links, truncated or too large members, names
    that lead out of the archive and damaged parts, is yielded with its reason, so that a damaged
    archive loses nothing before the damage.

    Raises
    ------
    OSError
        If the file cannot be opened or read (which says nothing about its content).
    """
    total = os.path.getsize(path)
    end = 0
    try:
        with open(path, "rb") as file:
            for entry, end in entries(file):
                if not entry.isdir():
                    yield _member(entry, total)
                if end > total:
                    raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, ValueError, RecursionError) as error:
        what = contents.described_file(path) if not end else None
        yield _damage(end, total, what or str(error))
        return
    # tarfile takes an invalid header for the end of the archive, and stops at the end mark of the
    # first of several joined archives. After a real end there are zeros or nothing.
    with open(path, "rb") as file:
        file.seek(end)
        while block := file.read(_MAX_HEADER):
            if block.strip(b"\0"):
                yield _damage(end, total, "no valid header")
                return


def _member(entry: tarfile.TarInfo, total: int) -> Entry:
    """Return the row of a tar entry; `total` is the archive's size in bytes."""
    where = (None, readable(entry.name), entry.offset_data, entry.size)
    if entry.issym() or entry.islnk():
        detail = f"a link to {readable(entry.linkname)!r}; links are not followed"
        return Entry(*where, "not_an_image", detail)
    if entry.issparse():
        return Entry(*where, "not_an_image", "a sparse file, stored in pieces")
    if not entry.isreg():
        return Entry(*where, "not_an_image", f"tar entry of type {entry.type!r}, not a plain file")
    if not safe_name(entry.name):
        return Entry(*where, "unsafe_name", "the name leads out of the archive's folder")
    if (present := max(total - entry.offset_data, 0)) < entry.size:
        detail = f"cut short: {present} of {entry.size} bytes"
        return Entry(*where, "damaged_archive", detail)
    if entry.size > MAX_BYTES:
        return Entry(*where, "too_many_bytes", f"{entry.size} bytes, above {MAX_BYTES}")
    return Entry(*where)


def readable(name: str) -> str:
    """Return a file's name with bytes that are not UTF-8 escaped (`\\xe9`)."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _damage(offset: int, total: int, what: str) -> Entry:
    """Return the row for the rest of a damaged archive."""
    left = max(total - offset, 0)
    detail = f"{what} ({left} bytes not listed, from byte {offset} of {total})"
    return Entry(None, None, None, None, "damaged_archive", detail)


@contextmanager
def opened(place: Path) -> Iterator[Read]:
    """Open an archive; members are read by offset, and decompressed where they are gzipped."""
    with open(place, "rb") as file:
        yield lambda member, offset, size: read_member(file, offset, size)


def read_member(archive: BinaryIO, offset: int, size: int | None) -> bytes:
    """Return the content (offset and size in bytes) of a member, decompressed if it is gzipped.

    Raises
    ------
    RejectionError
        `too_many_bytes`, `damaged_archive` (fewer bytes than listed), `undecodable` (broken gzip).
    """
    if size is None:
        raise ValueError(f"{archive.name}: a member without a size cannot be read")
    if size > MAX_BYTES:
        raise RejectionError("too_many_bytes", f"{size} bytes, above {MAX_BYTES}")
    archive.seek(offset)
    data = archive.read(size)
    if len(data) < size:
        raise RejectionError("damaged_archive", f"cut short: {len(data)} of {size} bytes")
    return _gunzip(data) if data.startswith(_GZIP) else data


def _gunzip(data: bytes) -> bytes:
    """Decompress one gzip stream, never to more than `MAX_BYTES`."""
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = stream.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise RejectionError("undecodable", f"gzip: {error}") from error
    if not stream.eof:
        if len(content) == MAX_BYTES:
            raise RejectionError("too_many_bytes", f"more than {MAX_BYTES} bytes decompressed")
        raise RejectionError("undecodable", "gzip stream is cut short")
    return content
