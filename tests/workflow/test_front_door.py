"""What a user sees first: messages, plans, targets."""

import polars as pl
import pytest

from .conftest import BIN, DEMO, MINIATURE, clone

RUN = ["--configfile", MINIATURE]


def refused(project, *arguments):
    """Return the single error message with which Snakemake refuses a command."""
    said = project.snakemake(*arguments, check=False)
    assert not [
        word for word in ("Traceback", "Exception", "WorkflowError", "File ") if word in said
    ]
    assert said.count("Error: ") == 1, said
    return said[said.index("Error: ") :].rstrip("\n")


def edit(project, name, *changes):
    """Replace some texts in a config of the project."""
    path = project.root / "config" / name
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")


def test_everything_that_is_wrong_in_the_config_is_one_message(project):
    edit(
        project,
        "miniature.yaml",
        ("  total: 144", "  totl: 144"),
        ("  balance: 0.5", "  balance: .inf"),
        ("prompt: section_3_2", "prompt: größer"),
        ("    denied_images: []", "    denied_images: []\n    denied_images_file: 拒否.txt"),
        ("figures:\n  samples: 2\n", ""),  # and not merged from the default config
    )
    first, *problems = refused(project, *RUN, "-n", "all").splitlines()
    assert first == f"Error: {project.root}/config/miniature.yaml: 5 problems"
    for words in (
        "unknown key 'totl' in images; did you mean 'total'?",
        "key 'figures' is missing",
        "images.balance is .inf",
        'prompt is "größer"',
        'images.criteria.denied_images_file: "拒否.txt": no such file',
    ):
        assert [problem for problem in problems if words in problem], words
    assert len(problems) == 5


@pytest.mark.parametrize(
    ("name", "wrong", "arguments", "line"),
    [
        ("config.yaml", "seed: 1\nseed: 2\n", (), "line {}: duplicate key 'seed'"),
        ("miniature.yaml", "no: 1\nrun: a\n", RUN, "line {}: duplicate key 'run'"),
    ],
)
def test_the_line_of_an_error_in_a_config_is_named(project, name, wrong, arguments, line):
    path = project.root / "config" / name
    lines = path.read_text(encoding="utf-8").count("\n")
    path.write_text(path.read_text(encoding="utf-8") + wrong, encoding="utf-8")
    said = refused(project, *arguments, "-n")
    assert f"config/{name}: " in said
    assert line.format(lines + 2) in said


def test_several_configs_are_not_merged(project):
    said = refused(project, "--configfile", "config/miniature.yaml", "config/config.yaml", "-n")
    assert "--configfile names several files" in said


def test_another_working_directory_is_refused(project):
    said = refused(project, "-s", "Snakefile", "-d", "elsewhere", *RUN, "-n")
    assert f"{project.root}/elsewhere has no paper/ and no resources/ and no scripts/" in said
    assert f"run snakemake in the project's folder ({project.root})" in said


@pytest.mark.slow
def test_without_images_the_paper_run_says_where_to_put_them(project):
    said = refused(project, "-n", "all")
    assert "images.source.path: no images: data/imagenet21k/ does not exist. Put" in said


@pytest.mark.slow
def test_an_unfinished_run_has_no_report(project):
    said = refused(project, *RUN, "--report", "report.zip")
    assert "there is nothing to report yet: results/miniature was never run; " in said
    assert "results/miniature/figures/figure_agreement.pdf and " in said
    (project.root / "results" / "miniature").mkdir(parents=True)
    assert "results/miniature is not finished" in refused(project, *RUN, "--report", "r.zip")


def test_every_reason_against_a_plan_is_in_one_message(project):
    """What input functions lack is not an exception of the first rule that needs it."""
    columns = {"image": ["x"], "think": ["so"], "answer": ["a cat"]}
    pl.DataFrame(columns).write_parquet(project.root / "texts.parquet")
    responses = {"path": "texts.parquet", "think": "think", "answer": "answer"}
    with project.editing(MINIATURE, to="listed.yaml") as config:
        for key, model in config["models"].items():
            config["models"][key] = {"name": model["name"], "responses": responses}
        config["images"] = {
            "classes": "resources/one_class.tsv",
            "source": {"kind": "listing", "path": "texts.parquet"},
        }
    targets = ("paper", "review", "review_results", "pilot", "rejoin")
    first, *reasons = refused(project, "--configfile", "listed.yaml", "-n", *targets).splitlines()
    assert first == "Error: this cannot be run: 5 problems"
    for words in (
        "The paper describes how images were sampled, but images.source of kind listing lists",
        "the run knows its images only by name",
        "There are no decisions yet: open results/miniature/review/index.html",
        "There is no pilot: every model of the config has `responses`",
        "a dataset is rejoined with archives or folders of images",
    ):
        assert [reason for reason in reasons if words in reason], words


def test_a_run_of_imported_texts_is_refused_before_its_first_job(project):
    """Unknown columns and revisions that are missing are known when the run is planned."""
    (project.root / "texts.csv").write_text("image,think,answer\nn02782093_1,so,a balloon\n")
    with project.editing(MINIATURE, to="listed.yaml") as config:
        for key, model in config["models"].items():
            responses = {"path": "texts.csv", "think": "think", "answer": "answer"}
            config["models"][key] = {"name": model["name"], "responses": responses}
        config["images"] = {
            "classes": config["images"]["classes"],
            "source": {"kind": "listing", "path": "texts.csv"},
        }
        for section in (config["statistics"]["tokenizer"], config["benchmark"]["bertscore"]):
            section["repository"] = "owner/name"
        del config["sharding"]
    run = ("--configfile", "listed.yaml", "--cores", "1", "tables")
    said = refused(project, *run)
    assert "no revision for benchmark.bertscore, statistics.tokenizer: run `snakemake" in said
    with project.editing("listed.yaml") as config:
        config["models"]["kimi-vl"]["responses"]["answer"] = "response"
    said = refused(project, *run)
    assert (
        "models.kimi-vl.responses.answer: texts.csv has no column 'response'; there are image, "
        "think, answer" in said
    )
    assert "no revision for statistics.tokenizer" in said
    assert not (project.root / "results" / "miniature").exists()


@pytest.mark.slow
def test_an_outer_archive_is_needed_until_it_is_unpacked(project):
    source = {"kind": "outer_archive", "path": "tars", "archive": "winter21.tar.gz"}
    with project.editing(MINIATURE, to="packed.yaml") as config:
        config["images"]["source"] = source
    packed = ("--configfile", "packed.yaml", "-n", "sampling")
    said = refused(project, *packed)
    assert "images.source.archive: winter21.tar.gz: no such file" in said
    unpacked = project.root / "results" / "miniature" / "images" / "unpacked.parquet"
    unpacked.parent.mkdir(parents=True)
    unpacked.touch()
    jobs = {line.split()[0] for line in project.snakemake(*packed).splitlines() if line}
    assert "catalogue_images" in jobs
    assert "unpack_outer_archive" not in jobs


@pytest.fixture
def empty_archives(project):
    """A project with an empty archive for each of the paper's classes."""
    folder = project.root / "data" / "imagenet21k"
    folder.mkdir(parents=True)
    lines = (project.root / "resources" / "imagenet21k_p_winter21.tsv").read_text().splitlines()
    for line in lines[1:]:
        (folder / f"{line.split()[0]}.tar").touch()
    return project


@pytest.mark.slow
def test_the_paper_run_is_planned_on_slurm(empty_archives):
    said = empty_archives.snakemake("--profile", "slurm", "all", "-n", "--quiet", "rules")
    assert "Only a dry run is possible so far: no revision for benchmark.bertscore, " in said
    jobs = dict(line.split() for line in said.splitlines() if len(line.split()) == 2)
    assert jobs["collect_candidates"] == "16"
    assert jobs["generate_responses"] == str(7 * 16)
    assert jobs["score_embeddings"] == "32"
    assert (empty_archives.root / "slurm").is_symlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "needed"),
    [("all", ["statistics.tokenizer", "benchmark.sbert", "models.kimi-vl"]), ("pilot", [])],
)
def test_a_real_run_refuses_models_without_revision(empty_archives, target, needed):
    said = refused(empty_archives, "--cores", "1", target)
    assert "no revision for " in said
    assert "run `snakemake --cores 1 pin` once" in said
    assert not [key for key in ("models.openvlthinker.processor", *needed) if key not in said]
    assert ("benchmark.sbert" in said) == ("benchmark.sbert" in needed)
    assert not (empty_archives.root / "results" / "paper" / "images").exists()


def test_a_job_whose_plan_is_outdated_does_not_start(project, monkeypatch):
    """A job on a cluster parses the workflow again, perhaps hours after it was planned."""
    monkeypatch.setenv("IMAGENET_THINK_PLANNED", "what the main process saw")
    said = project.snakemake(*RUN, "--mode", "remote", "-n", "tables", check=False)
    assert "were edited after this job was planned, so it does not start" in said
    assert "Traceback" not in said


def test_scripts_find_the_package_in_a_path_with_spaces_and_a_pythonpath(tmp_path):
    users = tmp_path / "modules of the user"
    (users / "imagenet_think").mkdir(parents=True)
    (users / "imagenet_think" / "__init__.py").write_text("raise ImportError('not this one')")
    (users / "of_the_user.py").touch()
    project = clone(tmp_path / "my own checkout")
    script = project.root / "scripts" / "run" / "record_run.py"
    script.write_text(f"import of_the_user\n{script.read_text()}")
    snakemake = str(BIN / "snakemake")
    project.call("env", f"PYTHONPATH={users}", snakemake, *RUN, "--cores", "1", "record_run")
    assert (project.root / DEMO / "versions.json").is_file()
