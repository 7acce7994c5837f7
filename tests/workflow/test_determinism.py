"""The same seed makes the same bytes, on one core and on two."""

import pytest

from tests.workflow.conftest import clone, differences, shrink

pytestmark = pytest.mark.slow


def test_the_same_seed_makes_the_same_bytes_with_one_core_and_with_two(tmp_path_factory):
    models = ["internvl3.5", "openvlthinker"]  # with the teachers, one of each family
    runs = []
    for cores in ("1", "2"):
        project = clone(tmp_path_factory.mktemp(f"cores{cores}"))
        config = shrink(project, benchmarked=models)
        project.snakemake("--configfile", config, "--cores", cores, "all")
        runs.append(project.root / "results" / "small")
    assert differences(*runs) == []
