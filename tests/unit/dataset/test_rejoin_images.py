import hashlib
import io

import polars as pl
import pytest
import yaml
from dataset_shards import build, write_run
from image_stages import catalogued
from pictures import PREPARATION, encoded, photo, write_tar
from PIL import Image
from polars.testing import assert_frame_equal
from source_forms import FORMS, class_folders, class_tars

from imagenet_think.core.schemas import MISSING
from imagenet_think.dataset.hub_files import count_rows, schemas
from imagenet_think.images.preparation import prepare
from imagenet_think.parsing import statuses
from locate_images import locate_images
from rejoin_images import rejoin_images
from report_missing import report_missing

WNIDS = ["n02782093", "n03544143", "n02948072"]


@pytest.fixture(scope="module")
def images():
    """Four images per class by file name; the last is too large and is scaled down."""
    sizes = [(240, 232)] * 3 + [(500, 400)]
    return {
        wnid: {f"{wnid}_{n}.JPEG": encoded(photo(10 * c + n, size)) for n, size in enumerate(sizes)}
        for c, wnid in enumerate(WNIDS)
    }


@pytest.fixture
def dataset(images, tmp_path):
    return publish(tmp_path, images)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def prepared(data, **changes):
    return prepare(data, Image.open(io.BytesIO(data)), **PREPARATION | changes).data


def stem(name):
    return name.removesuffix(".JPEG")


def configuration(path):
    return "failed" if path.parent.name == "failed" else "default"


def publish(folder, images, prefix="", **unknown):
    """Build a dataset of images with their true digests; one response failed."""
    by_id = {
        f"{prefix and f'{wnid}/'}{stem(name)}": (wnid, data)
        for wnid, members in images.items()
        for name, data in members.items()
    }
    shards = {name: (wnid, "00") for name, (wnid, _) in by_id.items()}
    run = write_run(folder / "run", shards, {("one", min(by_id)): statuses.CUT_OFF})
    digests = {
        "source_sha256": [digest(by_id[name][1]) for name in sorted(by_id)],
        "sha256": [digest(prepared(by_id[name][1])) for name in sorted(by_id)],
    }
    columns = [pl.Series(name, values, pl.String) for name, values in (digests | unknown).items()]
    sample = pl.read_parquet(run / "sample.parquet").with_columns(columns)
    sample.write_parquet(run / "sample.parquet")
    return build(run, folder / "dataset", ["00"], test=1, validation=1)


def rejoin(folder, dataset, source, **changes):
    """Rejoin a dataset as the rules do; return the result's folder and the missing rows."""
    folder.mkdir(exist_ok=True)
    files = sorted(dataset.glob("*/*.parquet"))
    catalogues = catalogued(folder, source, WNIDS)
    located = [path.with_name(f"located-{path.name}") for path in catalogues]
    for path, place in zip(catalogues, located, strict=True):
        locate_images(files, path, place, source["kind"])
    out = folder / "rejoined"
    outputs, missing = (
        [place / path.relative_to(dataset) for path in files] for place in (out, folder / "missing")
    )
    images = {"source": source, "preparation": PREPARATION | changes}
    images |= {"criteria": {"max_pixels": 1_000_000}}
    for path, *written in zip(files, outputs, missing, strict=True):
        rejoin_images(path, located, *written, split=path.name.split("-")[0], images=images)
    report_missing(outputs, missing, out / "missing.csv", out / "README.md")
    return out, pl.read_csv(out / "missing.csv", schema=MISSING)


def rows(folder):
    frames = [
        pl.read_parquet(path, columns=["image_id", "image", "sha256"])
        for path in folder.glob("*/*.parquet")
    ]
    return pl.concat(frames).sort("image_id")


@pytest.mark.parametrize("form", FORMS)
def test_images_are_rejoined_from_every_form(form, images, dataset, tmp_path):
    out, missing = rejoin(tmp_path / "own", dataset, FORMS[form](tmp_path / "source", images))
    assert missing.is_empty()
    assert count_rows(out.glob("*/*.parquet")) == count_rows(dataset.glob("*/*.parquet"))
    assert count_rows(out.glob("*/*.parquet")).total() == 12
    for name, image, sha256 in rows(out).iter_rows():
        data = prepared(images[name[:9]][f"{name}.JPEG"])
        assert image == {"bytes": data, "path": f"{name}.jpg"}
        assert digest(data) == sha256
    for path in sorted(dataset.glob("*/*.parquet")):
        full = pl.read_parquet(out / path.relative_to(dataset))
        assert full.schema == schemas(full=True)[configuration(path)]
        assert_frame_equal(full.drop("image"), pl.read_parquet(path))
    assert "12 of\n12 rows. No row is left out." in (out / "README.md").read_text()


def test_images_are_rejoined_from_a_plain_folder(images, tmp_path):
    dataset = publish(tmp_path, images, prefix="class")
    source = class_folders(tmp_path / "source", images) | {"kind": "folder"}
    out, missing = rejoin(tmp_path / "own", dataset, source)
    assert missing.is_empty()
    assert rows(out)["image_id"][0] == f"{min(WNIDS)}/{min(WNIDS)}_0"


def test_missing_and_different_images_are_reported(images, dataset, tmp_path):
    gone, other, cut, kept = (f"{WNIDS[0]}_{n}" for n in range(4))
    members = images[WNIDS[0]] | {f"{other}.JPEG": encoded(photo(99)), f"{cut}.JPEG": b"no image"}
    del members[f"{gone}.JPEG"]
    source = class_tars(tmp_path / "source", images | {WNIDS[0]: members})
    out, missing = rejoin(tmp_path / "own", dataset, source)
    found = {row["image_id"]: row for row in missing.iter_rows(named=True)}
    assert {name: row["reason"] for name, row in found.items()} == {
        gone: "not_found",
        other: "another_source",
        cut: "another_source",
    }
    assert set(missing["row"]) == {"left_out"}
    tar = f"{WNIDS[0]}.tar, {other}.JPEG: SHA-256 "
    assert found[other]["detail"].startswith(tar + digest(members[f"{other}.JPEG"]))
    assert digest(images[WNIDS[0]][f"{other}.JPEG"]) in found[other]["detail"]
    for path in dataset.glob("*/*.parquet"):
        of_file = missing.join(pl.read_parquet(path), on="image_id", how="semi")
        place = configuration(path), path.name.split("-")[0]
        assert set(of_file.select("configuration", "split").rows()) <= {place}
    left = set(rows(out)["image_id"])
    assert kept in left
    assert left == {stem(n) for members in images.values() for n in members} - found.keys()
    assert "3 are left out; `missing.csv`" in (out / "README.md").read_text()


def test_a_damaged_archive_is_reported(images, dataset, tmp_path):
    source = class_tars(tmp_path / "source", images)
    tar = tmp_path / "source" / f"{WNIDS[1]}.tar"
    start = tar.read_bytes().index(images[WNIDS[1]][f"{WNIDS[1]}_2.JPEG"])
    tar.write_bytes(tar.read_bytes()[: start + 100])
    (tmp_path / "source" / f"{WNIDS[2]}.tar").unlink()
    write_tar(tmp_path / "source" / f"{WNIDS[2]}.tar", {})
    _, missing = rejoin(tmp_path / "own", dataset, source)
    columns = missing.select("image_id", "reason", "detail").iter_rows()
    found = {name: problem for name, *problem in columns}
    reason, detail = found[f"{WNIDS[1]}_2"]  # its beginning remains
    assert reason == "damaged_archive"
    assert f"{WNIDS[1]}.tar, {WNIDS[1]}_2.JPEG: cut short: 100 of" in detail
    reason, detail = found[f"{WNIDS[1]}_3"]  # nothing remains
    assert reason == "damaged_archive"
    assert detail.startswith(f"not found; perhaps in {WNIDS[1]}.tar: unexpected end of data")
    assert {found.pop(f"{WNIDS[2]}_{n}")[0] for n in range(4)} == {"not_found"}
    assert len(found) == 2


def test_a_different_preparation_is_kept_with_a_remark(images, dataset, tmp_path):
    source = class_tars(tmp_path / "source", images)
    out, missing = rejoin(tmp_path / "own", dataset, source, jpeg_quality=60)
    assert missing["image_id"].to_list() == [f"{wnid}_3" for wnid in sorted(WNIDS)]
    assert set(missing["row"]) == {"kept"}
    assert set(missing["reason"]) == {"another_preparation"}
    found = dict(rows(out).select("image_id", "image").iter_rows())
    assert len(found) == 12
    for name in missing["image_id"]:
        data = prepared(images[name[:9]][f"{name}.JPEG"], jpeg_quality=60)
        assert found[name]["bytes"] == data
        detail = missing.filter(image_id=name)["detail"][0]
        assert digest(data) in detail
        assert digest(prepared(images[name[:9]][f"{name}.JPEG"])) in detail


def test_without_digests_images_are_identified_by_name(images, tmp_path):
    dataset = publish(tmp_path, images, source_sha256=[None] * 12, sha256=[None] * 12)
    out, missing = rejoin(tmp_path / "own", dataset, class_tars(tmp_path / "source", images))
    assert set(missing["reason"]) == {"unchecked"}
    assert len(missing) == len(rows(out)) == 12


def test_the_digest_decides_between_equal_names_of_a_class(images, dataset, tmp_path):
    first, second, third = WNIDS
    name = f"{first}_1.JPEG"
    members = {f"a/{name}": encoded(photo(99))} | {f"b/{k}": v for k, v in images[first].items()}
    members[f"c/{name}"] = b"no image"
    mixed = {first: members, second: images[third], third: images[second]}
    out, missing = rejoin(tmp_path / "own", dataset, class_tars(tmp_path / "source", mixed))
    assert set(missing["reason"]) == {"not_found"}
    assert sorted(missing["wnid"]) == sorted([second, third] * 4)
    assert len(rows(out)) == 4


def test_files_of_an_earlier_dataset_are_removed(images, dataset, tmp_path):
    source = class_tars(tmp_path / "source", images)
    out, _ = rejoin(tmp_path / "own", dataset, source)
    stale = out / "data" / "train-00000-of-00064.parquet"
    stale.write_bytes((out / "data" / "train-00000-of-00001.parquet").read_bytes())
    rejoin(tmp_path / "own", dataset, source)
    assert not stale.exists()
    assert count_rows(out.glob("*/*.parquet")).total() == 12


def test_the_card_lists_splits_with_rows(images, tmp_path):
    two = {wnid: dict(list(members.items())[:2]) for wnid, members in images.items()}
    source = class_tars(tmp_path / "source", images)
    out, _ = rejoin(tmp_path / "own", publish(tmp_path, two), source)
    front = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    default, failed = (each["data_files"] for each in front["configs"])
    assert [entry["split"] for entry in default] == ["validation", "test"]
    assert len(failed) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop("sha256", "lemma"), "different type: lemma, sha256. Set"),
        (lambda rows: rows.with_columns(width=pl.lit("wide")), "type: width. Set dataset.rejoin"),
        (lambda rows: pl.concat([rows, rows]), "several rows of the same image: "),
    ],
)
def test_files_that_are_not_of_a_dataset_are_rejected(change, said, images, dataset, tmp_path):
    path = next(dataset.glob("data/train-*.parquet"))
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(ValueError, match=rf"{path}.*{said}"):
        rejoin(tmp_path / "own", dataset, class_tars(tmp_path / "source", images))
