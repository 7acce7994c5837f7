"""The profile that submits the jobs to Slurm."""

import re

import pytest
import yaml
from snakemake import cli
from submissions import ROOT, project, submissions

FILE = ROOT / "profiles" / "slurm" / "config.yaml"
PROFILE = yaml.safe_load(FILE.read_text())
RULES = set(
    re.findall(
        r"^ *(?:rule|use rule \w+ as) (\w+)(?: with)?:$",
        "".join(file.read_text() for file in ROOT.glob("rules/*.smk")),
        re.M,
    )
)


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The miniature and its pilot, as they would be submitted."""
    folder = project(tmp_path_factory.mktemp("plan"))
    return submissions(folder, "--configfile", "config/miniature.yaml", "-n", "all", "pilot")


@pytest.fixture
def whole(tmp_path):
    """The paper's run, as it would be submitted; its archives are empty files."""
    folder = project(tmp_path)
    archives = folder / "data" / "imagenet21k"
    archives.mkdir(parents=True)
    for line in (ROOT / "resources" / "imagenet21k_p_winter21.tsv").read_text().splitlines()[1:]:
        (archives / f"{line.split()[0]}.tar").touch()
    return submissions(folder, "all")


def test_the_symlink_that_the_command_names_exists():
    assert (ROOT / "slurm").readlink().as_posix() == "profiles/slurm"


def test_every_entry_is_an_option_and_has_a_comment():
    options = cli.get_argument_parser()._option_string_actions
    lines = FILE.read_text().splitlines()
    for number, line in enumerate(lines):
        if entry := re.match(r"[a-z-]+(?=:)", line):
            assert f"--{entry[0]}" in options
            assert lines[number - 1].startswith("# "), entry[0]


def test_every_rule_in_it_exists():
    for part in ("set-resources", "set-threads", "groups"):
        assert PROFILE[part].keys() <= RULES


def test_jobs_with_a_gpu_go_to_its_partition_and_no_others(planned):
    with_gpu = set()
    for job in planned:
        for asked in job.asked:
            assert (asked["slurm_partition"] == "gpu") == (asked.get("gpu", 0) == 1), job.rules
        if "gpu" in job.asked[0]:
            with_gpu |= set(job.rules)
    assert with_gpu == {"generate_pilot", "generate_responses", "score_embeddings"}


def test_a_job_gets_more_memory_and_time_at_each_attempt(planned):
    assert len(PROFILE["default-resources"]) >= 3
    for job in planned:
        for key in ("mem_mb", "runtime"):
            first, second, third = (asked[key] for asked in job.asked)
            assert first < second < third, (job.rules, key)
    assert PROFILE["retries"] == 2


def test_a_job_requests_no_more_than_a_usual_node_has(planned):
    # Snakemake would silently reduce more threads to it.
    assert max(PROFILE["set-threads"].values()) <= PROFILE["cores"] == 8
    for job in planned:
        asked = job.asked[0]
        assert asked["_cores"] <= PROFILE["cores"], job.rules
        assert asked["mem_mb"] >= 1000, job.rules
        assert asked["mem_mb"] <= (48000 if "gpu" in asked else 16000), job.rules
        assert asked["runtime"] <= 24 * 60, job.rules


def test_a_group_requests_what_it_uses_at_once_and_the_sum_of_its_runtimes(planned):
    """Its jobs run one after another, so no two of them may be able to run in parallel."""
    groups = [job for job in planned if len(job.rules) > 1]
    assert {job.rules for job in groups} == {
        ("catalogue_images", "collect_candidates"),
        ("measure_texts", "parse_responses"),
    }
    for job in groups:
        assert all(len(step) == 1 for step in job.steps), job.rules
        members = [member for ((_, member),) in job.steps]
        for key in ("_cores", "mem_mb"):
            assert job.asked[0][key] == max(member[key] for member in members), job.rules
        assert job.asked[0]["runtime"] == sum(member["runtime"] for member in members), job.rules


def test_the_miniature_has_few_jobs(planned):
    local = 4  # all, audit, record_run, render_pages
    rules = [rule for job in planned for rule in job.rules if "pilot" not in rule]
    assert len(rules) + local <= 90


@pytest.mark.slow
def test_the_papers_run_has_few_jobs_and_fewer_submissions(whole):
    assert sum(len(job.rules) for job in whole) <= 960
    assert len(whole) <= 480
    assert max(job.asked[0]["mem_mb"] for job in whole if "gpu" not in job.asked[0]) == 8000


def test_no_other_profile_of_the_project_overrides_it():
    """An entry of profiles/default beats the same entry of a profile that is named."""
    for file in ROOT.glob("profiles/default/config*.yaml"):
        assert not yaml.safe_load(file.read_text()).keys() & PROFILE.keys(), file


def test_no_profile_deploys_software():
    asking = re.compile(r"^(sdm|software-deployment-method|use-\w+):", re.M)
    for file in ROOT.glob("profiles/*/config*.yaml"):
        assert not asking.search(file.read_text()), file
