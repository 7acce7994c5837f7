"""Which rules read which keys of the config: as declared at the rules, and as plans show."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from imagenet_think.core import settings
from imagenet_think.run import configuration
from tests import pretended_runs
from tests.pretended_runs import again, jobs, planned, with_consumers

from . import changed_keys
from .conftest import ROOT, TINY, listed

pytestmark = pytest.mark.slow

TARGETS = ("all", "dataset_full", "rejoin", "review_results", "paper", "pilot", "checkpoints")
"""The targets of the runs: everything that a config affects."""

PLANNING = {
    "images.groups": "spreads classes over jobs; each job declares the classes that it gets",
    "references.published": "makes the teachers imported models, see configuration.check",
}
"""Leaves that only planning reads, with the reason."""

SEEN_IN_PLANS = {
    "run": "names every file",
    "sharding.blocks": "decides which files there are",
    "sharding.shards_per_block": "decides which files there are",
}
"""Leaves that planning reads too, with the reason: more than their readers run again."""


def targets(config):
    """Return the targets of a config: listed images allow no paper, imported models no pilot."""
    return TARGETS[:1] if config["images"]["source"]["kind"] == "listing" else TARGETS


OF_THE_MINIATURE = {"train_miniature", "measure_miniatures"}
"""Rules that read `miniature.yaml`, whichever config is loaded."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("planned")


@pytest.fixture(scope="module")
def configs(folder, parsed_once):
    """The configs of the runs, which are finished in `folder`."""
    pretended_runs.workplace(folder)
    configs = changed_keys.runs(folder)
    for config in configs.values():
        pretended_runs.pretend(folder, config, targets(config))
    return configs


@pytest.fixture(scope="module")
def declared(folder, configs):
    """The keys that rules declare in any of the runs, by the rule's file and its name."""
    found = {}
    for config in configs.values():
        with planned(folder, config, targets(config)) as workflow:
            for rule in workflow.rules:
                if rule.name in OF_THE_MINIATURE:
                    continue
                file = Path(rule.snakefile)
                if file.stem == "functions":  # it creates the rules of tables and figures
                    file = file.with_name(f"{Path(rule.script).parent.name}.smk")
                keys = found.setdefault((file, rule.name), set())
                keys.update(*(function.config_keys for function in settings.declaring(rule)))
    return found


def test_every_leaf_of_the_schema_is_read_by_a_rule_or_by_planning_alone(declared):
    known = settings.all_leaves(configuration.schema())
    read = {
        leaf for keys in declared.values() for key in keys for leaf in settings.leaves(key, known)
    }
    assert changed_keys.every_leaf().keys() - read == PLANNING.keys()


def test_the_keys_of_each_rule_file_are_found_in_its_text(declared):
    """The table in `config/README.md` is generated from them."""
    by_file = {}
    for (file, _), keys in declared.items():
        by_file.setdefault(file, set()).update(keys)
    del by_file[ROOT / "rules" / f"{configuration.MINIATURE}.smk"]  # not in the table
    for file, keys in by_file.items():
        assert configuration.declared_in(file).keys() == keys, file


# What a change runs again -------------------------------------------------------------------------


def test_every_leaf_of_the_schema_is_changed(configs):
    changed = {change.key for change in changed_keys.changes(configs)}
    assert changed == changed_keys.every_leaf().keys()


def test_a_leaf_without_another_value_is_named():
    with pytest.raises(KeyError, match="run: name another value of it in _VALUES"):
        changed_keys._another({"run": "r"}, ["run"], {"type": "string"})


def reads(job, path):
    """Return whether a job declares a changed key that it runs again for."""
    return any(
        own == list(path[: len(own)]) or list(path) == own[: len(path)]
        for function in settings.declaring(job.rule)
        if not getattr(function, "changes_nothing", False)
        for own in function.config_paths(job.wildcards)
    )


def is_new(job):
    """Return whether a job has an output that is missing from the finished run."""
    return not all(map(os.path.exists, job.output))


def names(some):
    return {job.rule.name for job in some}


def test_a_changed_leaf_runs_only_its_readers_and_their_consumers_again(folder, configs):
    wrong = []
    for change in changed_keys.changes(configs):
        config = change.of(configs)
        with planned(folder, config, targets(config)) as workflow:
            due = [job for job in jobs(workflow) if reads(job, change.path) or is_new(job)]
            expected, seen = names(with_consumers(workflow, due)), names(again(workflow))
        if change.key in PLANNING or change.key in SEEN_IN_PLANS:
            assert expected <= seen, change
        elif expected != seen:
            wrong.append(f"{change}: missing {expected - seen}, too many {seen - expected}")
    assert not wrong, "\n".join(wrong)


def test_settings_that_change_no_result_run_nothing_again(folder, configs):
    config = deepcopy(configs["drawn"])
    config["inference"] |= {"batch_size": 3, "engine": "vllm", "workers": 7}
    config["engines"] = {"vllm": {"command": "/bin/sh", "gpus": 2, "batch_size": 9}}
    config["models"][changed_keys.TEACHER]["engine"] = "transformers"
    for metric in ("bertscore", "sbert"):
        config["benchmark"][metric]["batch_size"] += 1
    spare = config["models"][changed_keys.SPARE]  # which no list names
    spare |= {"name": "Another", "output": "kimi", "system": "Be brief."}
    config["prompts"]["another"] = "Describe."
    with planned(folder, config, TARGETS) as workflow:
        assert jobs(workflow)
        assert not again(workflow)


def test_a_job_has_the_gpus_of_its_models_engine(folder, configs):
    config = deepcopy(configs["drawn"])
    config["inference"]["engine"] = "vllm"
    config["engines"]["vllm"] = {"gpus": 4}
    config["models"][changed_keys.OTHER_TEACHER]["engine"] = "transformers"
    config["models"][changed_keys.BENCHMARKED]["engine"] = "server"
    given = {changed_keys.OTHER_TEACHER: 1, changed_keys.BENCHMARKED: 0}
    with planned(folder, config, TARGETS) as workflow:
        found = {
            (job.rule.name, job.wildcards.model): job.resources["gpu"]
            for job in jobs(workflow)
            if job.rule.name in ("generate_responses", "generate_pilot")
        }
    assert {rule for rule, _ in found} == {"generate_responses", "generate_pilot"}
    assert {gpus for (_, model), gpus in found.items() if model not in given} == {4}
    assert all(found[rule, model] == given[model] for rule, model in found if model in given)


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def test_another_order_of_keys_and_comments_run_nothing_again(folder, configs):
    for config in configs.values():
        turned = reordered(config)
        text = yaml.safe_dump(turned, sort_keys=False)
        assert text != yaml.safe_dump(config, sort_keys=False)
        file = folder / "turned.yaml"
        file.write_text("# A comment.\n" + text.replace("\n", "  # Another.\n", 1))
        with planned(folder, file, targets(config)) as workflow:
            assert not again(workflow)


SWAPPED = {
    "criteria": (["images", "criteria"], "min_contrast", "min_sharpness", {"collect_candidates"}),
    "sharding": (["sharding"], "blocks", "shards_per_block", {"sample_images"}),
    "loops": (["length_policy", "loop"], "longest_period", "repeats", {"generate_responses"}),
    "bounds": (["models", "glm-4.1v", "image"], "min_pixels", "max_pixels", {"generate_responses"}),
    "prompts": (["prompts"], "section_3_2", "figure_2", {"generate_responses", "figure_sample"}),
    "metrics": (["benchmark"], "sets", "vectors", {"score"}),
    "models": (["models"], "glm-4.1v", "kimi-vl", {"generate_responses", "parse_responses"}),
    "splits": (["dataset"], "test", "validation", {"build_dataset", "write_card"}),
}
"""A section, two of its keys whose values are swapped, and rules that must notice it."""


@pytest.mark.parametrize("case", SWAPPED)
def test_swapped_values_are_noticed(case, folder, configs):
    path, one, other, seen = SWAPPED[case]
    config = deepcopy(configs["drawn"])
    section = config
    for key in path:
        section = section[key]
    section[one], section[other] = section[other], section[one]
    with planned(folder, config, TARGETS) as workflow:
        recorded = workflow.persistence
        assert seen <= names(job for job in jobs(workflow) if recorded.params_changed(job))


# By the command line, in a finished run -----------------------------------------------------------

CONDA = """#!/bin/sh
# Answers Snakemake's calls before planning.
case "$*" in
"info --json") echo '{"conda_prefix": "/opt/conda", "platform": "linux-64"}' ;;
"--version") echo "conda 25.1.0" ;;
"config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}' ;;
*) exit 1 ;;
esac
"""


def test_adding_conda_to_a_finished_run_runs_everything_again(tiny, tmp_path, monkeypatch):
    conda = tmp_path / "conda"
    conda.write_text(CONDA)
    conda.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    every = listed(tiny.snakemake("--configfile", TINY, "-n", "--forceall", "all"))
    given = ["--sdm", "conda", "--configfile", TINY, "-n"]
    assert listed(tiny.snakemake(*given, "all")) == every
    triggers = ["--rerun-triggers", "code", "input", "mtime", "params"]
    assert "Nothing to be done" in tiny.snakemake(*given, *triggers, "--", "all")


# What scripts read --------------------------------------------------------------------------------

UNREAD = {
    "length_policy.attempts",  # read where something is generated
    # Read where a text is long.
    *(f"length_policy.loop.near_repeats.{key}" for key in ("window", "phrase", "later_phrase")),
    "engines.vllm",  # read where it is the engine
    "benchmark.bertscore.batch_size",  # read where the cache lacks a score
    "benchmark.sbert.batch_size",
}
"""Settings that a script need not read."""

READ = ["all", "checkpoints", "results/tiny/paper/numbers.tex"]
"""Targets with every rule that declares keys, except those of the pilot, of other forms of the
dataset, of reviews and of other sources of images."""


def test_a_script_reads_every_setting_that_its_rule_declares(tiny, tmp_path):
    project = tiny.copy(tmp_path / "project")
    program = Path(__file__).with_name("settings_read.py")
    done = subprocess.run(
        [sys.executable, program, project.root, project.root / TINY, *READ],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    unread = json.loads(done.stdout.splitlines()[-1])
    assert len(unread) > 35
    assert {name: set(keys) - UNREAD for name, keys in unread.items() if set(keys) - UNREAD} == {}
