"""Runs of earlier versions are continued: nothing that they generated is generated again."""

import re
import shutil

import pytest

from .conftest import ROOT

pytestmark = pytest.mark.slow

VERSIONS = sorted(path.parent for path in (ROOT / "tests/fixtures/runs").glob("*/run"))


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".jsonl", ".parquet")
    }


@pytest.mark.parametrize("kept", ["journal and responses", "journal only"])
@pytest.mark.parametrize("version", VERSIONS, ids=lambda folder: folder.name)
def test_a_run_of_an_earlier_version_generates_nothing_again(version, kept, project):
    shutil.copytree(version / "archives", project.root / "archives")
    shutil.copy(version / "config.yaml", project.root)
    results = project.root / "results" / "earlier"
    for name in kept.removesuffix(" only").split(" and "):
        shutil.copytree(version / "run" / name, results / name)
    project.snakemake("--configfile", "config.yaml", "--cores", "2", "accounting")
    for name in ("journal", "responses"):  # any run that generates adds a record to the journal
        found = contents(version / "run" / name)
        assert len(found) == 10
        assert contents(results / name) == found
    logs = list(results.glob("logs/generate_responses/*/*.log"))
    assert len(logs) == 5
    for path in logs:  # its only line: no model was loaded
        assert re.fullmatch(r"[\d:]+ INFO \S+: 6 of 6 in the journal\n", path.read_text())
