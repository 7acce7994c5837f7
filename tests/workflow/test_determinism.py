"""The same seed makes the same bytes, on one core and on two."""

import filecmp

import pytest

from tests.workflow.conftest import clone, shrink

pytestmark = pytest.mark.slow

# What holds times.
OF_THE_MOMENT = {"logs", "benchmarks", "journal", "cost.csv", "cost.md"}


def test_the_same_seed_makes_the_same_bytes_with_one_core_and_with_two(tmp_path_factory):
    runs = []
    for cores in ("1", "2"):
        project = clone(tmp_path_factory.mktemp(f"cores{cores}"))
        project.snakemake("--configfile", shrink(project), "--cores", cores, "all")
        runs.append(project.root / "results" / "small")
    names = [
        str(path.relative_to(runs[0]))
        for path in sorted(runs[0].rglob("*"))
        if path.is_file() and path.relative_to(runs[0]).parts[0] not in OF_THE_MOMENT
    ]
    same, different, missing = filecmp.cmpfiles(*runs, names, shallow=False)
    assert (different, missing) == ([], [])
    assert len(same) > 100
