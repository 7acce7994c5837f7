"""Kinds of sources, through the real rules."""

import polars as pl
import pytest
from source_forms import FORMS, read_tar, write_classes

from draw_images import draw_images

from .conftest import clone

WNIDS = ["n02782093", "n03544143", "n02948072"]
TARGET = "results/forms/images/sample.parquet"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_images(folder, WNIDS, 12, 11)
    return {wnid: read_tar(folder / f"{wnid}.tar") for wnid in WNIDS}


def run(project, source, *arguments, check=True, **criteria):
    """Sample 18 images of a source with the paper's config, scaled down."""
    with project.editing("config/config.yaml", to="forms.yaml") as config:
        config["run"], images = "forms", config["images"]
        images |= {"classes": "classes.tsv", "source": source, "groups": 2, "total": 18}
        images |= {"class_count": 3, "min_per_class": 5, "max_per_class": 7, "reserve": 2}
        images["criteria"] |= criteria
    write_classes(project.root / "classes.tsv", WNIDS)
    given = ("--configfile", "forms.yaml", "--cores", "1", *arguments, TARGET)
    said = project.snakemake(*given, check=check)
    return said, pl.read_parquet(project.root / TARGET) if check else None


@pytest.mark.slow
def test_an_outer_archive_and_archives_of_many_classes_give_the_same_sample(drawn, tmp_path):
    samples = []
    for form in ("outer_archive", "webdataset"):
        project = clone(tmp_path / form)
        source = FORMS[form](project.root / "data", drawn)
        samples.append(run(project, source)[1].drop("source", "member"))
        assert "Nothing to be done" in run(project, source)[0]
    assert samples[0].equals(samples[1])


@pytest.mark.slow
def test_a_folder_of_the_users_images_with_deny_file_and_scorer(drawn, project):
    source = FORMS["class_folders"](project.root / "own", drawn) | {"kind": "folder"}
    (project.root / "scorer.py").write_text(
        "def judge(image):\n    return 'the longest there is' if image.width > 340 else None\n"
    )
    (project.root / "denied.txt").write_text(f"{WNIDS[0]}/{WNIDS[0]}_3\n")
    own = {"denied_images_file": "denied.txt", "scorer": "scorer.py:judge"}
    _, sample = run(project, source, **own)
    assert len(sample) == 18
    exclusions = pl.read_parquet(project.root / "results/forms/images/exclusions.parquet")
    denied = exclusions.filter(pl.col("reason") == "denied_image")
    assert denied["member"].to_list() == [f"{WNIDS[0]}/{WNIDS[0]}_3.JPEG"]
    assert not sample["image_id"].is_in([f"{WNIDS[0]}/{WNIDS[0]}_3"]).any()
    assert sample["width"].max() <= 340
    (project.root / "denied.txt").write_text("# nobody\n")
    said, _ = run(project, source, **own)
    assert "Reading, checking and preparing the candidates" in said
    assert "Listing archives" not in said
    (project.root / "own" / WNIDS[0] / "one more.JPEG").write_bytes(b"no image")
    said, _ = run(project, source, **own)
    assert "Listing archives" in said


VANISHING = """
from pathlib import Path

def judge(image):
    if Path("vanish").exists():
        Path("vanish").unlink()
        Path("data").rename("elsewhere")
"""


@pytest.mark.slow
def test_a_source_that_vanishes_fails_by_name_and_the_rerun_continues(drawn, project):
    source = FORMS["class_tars"](project.root / "data", drawn)
    (project.root / "vanish").touch()
    (project.root / "scorer.py").write_text(VANISHING)
    said, _ = run(project, source, "--keep-going", check=False, scorer="scorer.py:judge")
    assert "Error in rule collect_candidates" in said
    assert "No such file or directory" in said
    assert str(project.root / "data") in said
    (project.root / "elsewhere").rename(project.root / "data")
    said, sample = run(project, source, scorer="scorer.py:judge")
    assert len(sample) == 18
    assert said.count("Listing ") < 2  # what was catalogued stands
