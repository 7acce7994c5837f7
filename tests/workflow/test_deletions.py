"""For every rule: if its outputs are deleted, they and everything made of them are made again.

The finished runs are simulated.
"""

import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pretended_runs import planned, pretend

from . import changed_keys
from .conftest import ROOT, clone

pytestmark = pytest.mark.slow

TARGETS = [
    *("all", "tables", "figures", "comparison", "audit", "accounting", "cost", "sampling"),
    *("dataset", "dataset_full", "rejoin", "review", "review_results", "paper", "pilot"),
    *("checkpoints", "miniatures"),
]
CONFIGS = ("drawn", "packed", "labelled", "pictured", "listed")
"""Of `changed_keys.runs`: together they have every rule."""


def targets_of(config):
    """Return the targets that a config has: listed images allow fewer."""
    source = config["images"]["source"]
    if source["kind"] != "listing":
        return TARGETS
    if not source["pictures"]:
        return ["all"]
    return [name for name in TARGETS if name not in ("paper", "rejoin")]


@dataclass(frozen=True)
class Plan:
    """The jobs behind some targets, each identified by its rule and outputs."""

    outputs: dict[str, set[str]]  # by rule
    deletable: set[str]  # outputs that may be deleted
    affected: dict[str, set[tuple[str, ...]]]  # by rule: its jobs and all that depend on them
    again: set[tuple[str, ...]]  # jobs that would run


class Finished:
    """A folder with the finished runs of several configs."""

    def __init__(self, folder: Path) -> None:
        self.folder = clone(folder).root
        configs = changed_keys.runs(folder)
        configs["drawn"]["statistics"]["datasets"] = {
            "visual_cot": "train.jsonl",
            "llava_cot": "train.jsonl",
            "emma": "texts.parquet",
            "mac": "image2text.csv",
        }
        configs["drawn"]["benchmark"]["sbert"]["precision"] = "tf32"
        self.configs = {name: configs[name] for name in CONFIGS}
        self.targets = {name: targets_of(config) for name, config in self.configs.items()}
        for name, config in self.configs.items():
            pretend(folder, config, self.targets[name])
        self.rules = {}
        for config in self.configs.values():
            with planned(folder, config, ["all"]) as workflow:
                self.rules |= {rule.name: bool(rule.output) for rule in workflow.rules}
        self.whole = {name: self.plan_now(name, self.targets[name]) for name in CONFIGS}
        self._plans: dict[tuple[str, str], Plan] = {}

    def plan(self, config: str, target: str) -> Plan:
        """Return the plan of a target of the finished run."""
        key = config, target
        if key not in self._plans:
            self._plans[key] = self.plan_now(config, [target])
        return self._plans[key]

    def plan_now(self, config: str, targets: list[str]) -> Plan:
        """Return the plan of some targets with the present files."""
        with planned(self.folder, self.configs[config], targets) as workflow:
            dag = workflow.dag
            names = {job: (job.rule.name, *map(str, job.output)) for job in dag.jobs}
            of_rules: dict[str, list] = {}
            for job in dag.jobs:
                of_rules.setdefault(job.rule.name, []).append(job)
            return Plan(
                outputs={
                    rule: {str(file) for job in jobs for file in job.output}
                    for rule, jobs in of_rules.items()
                    if jobs[0].output
                },
                deletable={
                    str(file)
                    for job in dag.jobs
                    for file in job.output
                    if "deletable" in file.flags
                },
                affected={
                    rule: {names[job] for job in dag.bfs(dag.depending, *jobs)}
                    for rule, jobs in of_rules.items()
                },
                again={names[job] for job in dag.jobs if dag.needrun(job)},
            )

    def having(self, rule: str) -> str:
        """Return the first config that has jobs of a rule."""
        for name, plan in self.whole.items():
            if rule in plan.outputs:
                return name
        raise AssertionError(f"No config of this test has a job of rule {rule}: add one.")

    @contextmanager
    def without(self, outputs: set[str]):
        """Delete outputs, and put them back as they were."""
        stash = self.folder / "stash"
        stash.mkdir()
        places = {self.folder / name: stash / str(n) for n, name in enumerate(sorted(outputs))}
        for place, kept in places.items():
            place.rename(kept)
        yield
        for place, kept in places.items():
            kept.rename(place)
        stash.rmdir()


@pytest.fixture(scope="module")
def finished(parsed_once, tmp_path_factory):
    return Finished(tmp_path_factory.mktemp("finished"))


def test_the_configs_have_every_rule(finished):
    texts = [path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]]
    named = re.findall(r"^ *(?:use rule \w+ as|rule) (\w+)(?: with)?:\n", "".join(texts), re.M)
    assert set(named) <= finished.rules.keys()


def test_a_finished_run_runs_nothing(finished):
    assert {name: plan.again for name, plan in finished.whole.items() if plan.again} == {}


def test_deleted_outputs_are_made_again_with_all_that_depends_on_them(finished):
    """Behind all targets at once, and behind one of them, so that every target has its turn."""
    for place, rule in enumerate(rule for rule, has_output in finished.rules.items() if has_output):
        config = finished.having(rule)
        whole, targets = finished.whole[config], finished.targets[config]
        own = [name for name in targets if rule in finished.plan(config, name).outputs]
        one = own[place % len(own)]
        with finished.without(whole.outputs[rule]):
            for wanted, plan in ((targets, whole), ([one], finished.plan(config, one))):
                needed = plan.outputs[rule] - plan.deletable
                affected = plan.affected[rule] if needed else set()
                assert finished.plan_now(config, wanted).again == affected, (rule, wanted)


def test_a_deletable_output_is_made_again_when_its_job_failed(finished):
    """A failed job loses its outputs and their records."""
    records = finished.folder / ".snakemake" / "metadata"
    found = set()
    for config, plan in finished.whole.items():
        for rule, outputs in plan.outputs.items():
            if rule in found or not outputs <= plan.deletable:
                continue
            found.add(rule)
            shutil.copytree(records, finished.folder / "records")
            with finished.without(outputs):
                with planned(finished.folder, finished.configs[config], ["all"]) as workflow:
                    for file in (file for job in workflow.dag.jobs for file in job.output):
                        if str(file) in outputs:
                            workflow.persistence.cleanup_metadata(file)
                assert (
                    finished.plan_now(config, finished.targets[config]).again == plan.affected[rule]
                ), rule
            shutil.rmtree(records)
            (finished.folder / "records").rename(records)
    assert {"collect_candidates", "prepare_images"} <= found
