"""What a user meets first: messages, plans, targets."""

import shutil

import pytest

MINIATURE = ["--configfile", "config/miniature.yaml"]


def test_a_typo_in_the_config_is_one_message(project):
    path = project.root / "config" / "miniature.yaml"
    path.write_text(path.read_text().replace("  total: 144", "  totl: 144"))
    said = project.snakemake(*MINIATURE, "-n", "all", check=False)
    assert "unknown key 'totl' in images; did you mean 'total'?" in said
    assert "Traceback" not in said


def test_only_one_config_is_loaded(project):
    """A key of the default config that the named one lacks is missing, not merged in."""
    path = project.root / "config" / "miniature.yaml"
    path.write_text(path.read_text().replace("figures:\n  samples: 2\n", ""))
    said = project.snakemake(*MINIATURE, "-n", "all", check=False)
    assert "key 'figures' is missing" in said


def test_without_images_the_paper_run_says_where_they_go(project):
    said = project.snakemake("--cores", "1", "-n", "all", check=False)
    assert "data/imagenet21k/ does not exist" in said
    assert "images.source.path" in said


@pytest.fixture
def stand_in(project):
    """A source folder with an empty archive for each of the paper's classes."""
    folder = project.root / "data" / "imagenet21k"
    folder.mkdir(parents=True)
    lines = (project.root / "resources" / "imagenet21k_p_winter21.tsv").read_text().splitlines()
    for line in lines[1:]:
        (folder / f"{line.split()[0]}.tar").touch()
    return project


@pytest.mark.slow
def test_the_paper_run_is_planned_on_slurm(stand_in):
    said = stand_in.snakemake("--profile", "slurm", "all", "-n", "--quiet", "rules")
    jobs = dict(line.split() for line in said.splitlines() if len(line.split()) == 2)
    assert jobs["collect_candidates"] == "16"
    assert jobs["generate_responses"] == str(7 * 16)
    assert jobs["score_bertscore"] == "16"
    assert (stand_in.root / "slurm").is_symlink()


@pytest.mark.slow
def test_a_real_run_refuses_models_without_revision(stand_in):
    said = stand_in.snakemake("--cores", "1", "all", check=False)
    assert "run `snakemake --cores 1 pin` once" in said
    assert "models.kimi-vl" in said
    assert not (stand_in.root / "results" / "paper" / "images").exists()


@pytest.mark.slow
def test_a_real_pilot_refuses_models_without_revision(stand_in):
    said = stand_in.snakemake("--cores", "1", "pilot", check=False)
    assert "run `snakemake --cores 1 pin` once" in said
    assert not (stand_in.root / "results" / "paper" / "images").exists()


def test_the_class_archives_of_the_miniature_are_planned(project):
    shutil.rmtree(project.root / "results", ignore_errors=True)
    said = project.snakemake(*MINIATURE, "-n", "all")
    assert "draw_images" in said
    assert "rule pin" not in said


def test_a_job_that_was_planned_otherwise_does_not_start(project, monkeypatch):
    """A job on a cluster parses the workflow again, hours after it was planned perhaps."""
    monkeypatch.setenv("IMAGENET_THINK_PLANNED", "what the main process saw")
    said = project.snakemake(*MINIATURE, "--mode", "remote", "-n", "tables", check=False)
    assert "were edited after this job was planned, so it does not start" in said
    assert "Traceback" not in said
