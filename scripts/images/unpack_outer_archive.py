"""Unpack the class archives out of the one archive that holds them all."""

import gzip
import json
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import polars as pl

from imagenet_think.core.files import atomic_path, remove_abandoned, write_parquet
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import SHOWN, logger, progress, some
from imagenet_think.core.schemas import UNPACKED
from imagenet_think.images.archives import entries, readable, safe_name
from imagenet_think.images.class_table import class_ids, composed

_CHUNK = 2**20
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError)

UnpackedRow = tuple[str | None, str | None, int | None, str | None, str | None]


def unpack_outer_archive(
    archive: str | Path, classes: str | Path, folder: str | Path, unpacked: str | Path
) -> None:
    """Read the outer archive once, as a stream, and write the archive of every class of the list.

    A class archive appears in `folder`, under the name of its class, once it is complete. One that
    exists already, with the size given by the outer archive, is skipped: so a stopped run continues
    where it was, though a compressed stream has to be read again up to that point. Of several
    archives of one class the first counts.

    Parameters
    ----------
    archive
        `winter21_whole.tar.gz` or `fall11_whole.tar`: a tar, gzip-compressed or not, with one
        `<wnid>.tar` per class in any folder.
    classes, folder
        Class table (archives of other classes are skipped), and where the class archives go.
    unpacked
        Parquet to write, schema `UNPACKED`: one row per class archive, and one with its reason
        for whatever could not be used. A damaged stream ends the list with such a row and no error.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)  # they may be large
    wanted = set(class_ids(classes))
    unpacking = _unpack(Path(archive), wanted, folder)
    rows = list(progress(unpacking, len(wanted), "class archives unpacked"))
    for wnid, _, _, reason, detail in rows:
        if reason:
            logger.warning("%s: %s: %s", wnid or archive, reason, detail)
    write_parquet(pl.DataFrame(rows, schema=UNPACKED, orient="row"), unpacked, UNPACKED)


def _unpack(archive: Path, wanted: Collection[str], folder: Path) -> Iterator[UnpackedRow]:
    """Yield a row for each member that is a wanted class archive or could not be used."""
    done: dict[str, str] = {}
    others: list[str] = []
    written = skipped = 0
    with open(archive, "rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
        try:
            for entry, end in entries(stream):
                name = readable(entry.name)
                wnid = composed(PurePosixPath(name).stem)
                refusal = _refusal(entry, done.get(wnid))
                if name.endswith(".tar") and wnid in wanted:
                    if refusal is None:
                        written += _write(stream, entry, folder / f"{wnid}.tar")
                        done[wnid] = name
                    yield (wnid, name, entry.size, *(refusal or (None, None)))
                elif refusal and not entry.isdir():
                    yield (None, name, entry.size, *refusal)
                elif not entry.isdir():
                    skipped += 1
                    others = [*others[:SHOWN], name]
                # Faster than gzip's own seeking.
                while (left := end - stream.tell()) > 0 and stream.read(min(left, _CHUNK)):
                    pass
            while rest := stream.read(_CHUNK):  # also checks gzip's checksum
                if rest.strip(b"\0"):
                    raise tarfile.ReadError("no valid header")
        except _DAMAGE as error:
            where = f"after {len(done)} class archives, at byte {raw.tell()}"
            yield (None, None, None, "damaged_archive", f"{where} of {archive.name}: {error}")
    if skipped:
        message = "%d members are skipped, as they are no archive of a class of the table: %s"
        logger.warning(message, skipped, some(others))
    logger.info("class archives: %d written, %d there already", written, len(done) - written)


def _refusal(entry: tarfile.TarInfo, earlier: str | None) -> tuple[str, str] | None:
    """Return reason and detail if a member cannot be used as a class archive."""
    if not safe_name(entry.name):
        return "unsafe_name", f"{readable(entry.name)!r} leads out of the archive's folder"
    if not entry.isreg() or entry.issparse():
        return "damaged_archive", f"tar entry of type {entry.type!r}, not a plain file"
    if earlier:
        return "clashing_archive", f"{readable(entry.name)}: the class has {earlier} already"
    return None


def _write(stream: BinaryIO, entry: tarfile.TarInfo, path: Path) -> bool:
    """Write a member to a file; return False if the file exists with that size."""
    if path.exists() and path.stat().st_size == entry.size:
        return False
    stream.seek(entry.offset_data)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        left = entry.size
        while left:
            if not (data := stream.read(min(left, _CHUNK))):
                name = readable(entry.name)
                raise tarfile.ReadError(f"{name} is cut short, {left} bytes are missing")
            file.write(data)
            left -= len(data)
    return True


if __name__ == "__main__":
    snakemake = start_job()
    unpack_outer_archive(
        snakemake.input.archive,
        snakemake.input.classes,
        json.loads(snakemake.params.settings)["images"]["source"]["path"],
        snakemake.output[0],
    )
