"""The same images in every layout that the pipeline reads, for its tests."""

import gzip
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq
from pictures import write_tar

Images = Mapping[str, Mapping[str, bytes]]
"""Of each class, the images by file name."""


def write_classes(path: Path, wnids: Sequence[str]) -> Path:
    """Write the table of some classes."""
    rows = ["wnid\tlemmas\tdomain\thypernym"]
    rows += [f"{wnid}\tlemma of {wnid}, <b>\tfood & drink\tn1" for wnid in wnids]
    path.write_text("\n".join(rows) + "\n")
    return path


def class_tars(folder: Path, images: Images = MappingProxyType({})) -> dict:
    for wnid, members in images.items():
        write_tar(folder / f"{wnid}.tar", members)
    return {"kind": "class_tars", "path": str(folder)}


def outer_archive(folder: Path, images: Images) -> dict:
    class_tars(folder / "inside", images)
    archive = folder / "winter21_whole.tar.gz"
    tars = {f"winter21_whole/{p.name}": p.read_bytes() for p in (folder / "inside").iterdir()}
    whole = write_tar(folder / "whole.tar", tars)
    archive.write_bytes(gzip.compress(whole.read_bytes(), 1))
    return {"kind": "outer_archive", "archive": str(archive), "path": str(folder / "unpacked")}


def class_folders(folder: Path, images: Images) -> dict:
    for wnid, members in images.items():
        (folder / wnid).mkdir(parents=True)
        for name, data in members.items():
            (folder / wnid / name).write_bytes(data)
    return {"kind": "class_folders", "path": str(folder)}


def shuffled(images: Images) -> list[tuple[str, str, bytes]]:
    """Return class, name and bytes of all images, the classes mixed."""
    rows = [
        (wnid, name, data) for wnid, members in images.items() for name, data in members.items()
    ]
    return sorted(rows, key=lambda row: row[1][::-1])


def webdataset(folder: Path, images: Images, archives: int = 3) -> dict:
    classes = sorted(images)
    rows = shuffled(images)
    for number in range(archives):
        members = {}
        for wnid, name, data in rows[number::archives]:
            key = name.rsplit(".", 1)[0]
            about = {"filename": f"{wnid}/{name}", "label": classes.index(wnid)}
            members |= {
                f"{key}.cls": str(classes.index(wnid)).encode(),
                f"{key}.jpg": data,
                f"{key}.json": json.dumps(about).encode(),
            }
        write_tar(folder / f"train-{number:04d}.tar", members)
    return {"kind": "webdataset", "path": str(folder)}


def hub_parquet(folder: Path, images: Images, files: int = 2) -> dict:
    classes = sorted(images)
    rows = shuffled(images)
    (folder / "data").mkdir(parents=True)
    for number in range(files):
        mine = rows[number::files]
        table = pa.table(
            {
                "image": [{"bytes": data, "path": name} for _, name, data in mine],
                "label": [classes.index(wnid) for wnid, _, _ in mine],
                "image_id": [name.rsplit(".", 1)[0] for _, name, _ in mine],
            }
        )
        path = folder / "data" / f"train-{number:05d}-of-{files:05d}.parquet"
        pq.write_table(table, path, row_group_size=5)
    return {"kind": "hub_parquet", "path": str(folder)}


FORMS = {
    form.__name__: form
    for form in (class_tars, outer_archive, class_folders, webdataset, hub_parquet)
}


def read_tar(path: Path) -> dict[str, bytes]:
    """Return the members of an archive by name."""
    with tarfile.open(path) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def sparse_claim(path: Path, name: str, size: int, kind: bytes = tarfile.REGTYPE) -> Path:
    """Write a tar whose only member claims `size` bytes, all there as a hole of the file system."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.size = kind, size
    with open(path, "wb") as file:
        file.write(entry.tobuf(tarfile.GNU_FORMAT))
        file.truncate(tarfile.BLOCKSIZE + size + 10_240)
    return path
