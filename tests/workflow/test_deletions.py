"""For every rule: if its outputs are deleted, they and all that is made of them are made again.

The finished run is real as far as it goes; what it did not make, and other sources of images, are
pretended.
"""

import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from snakemake.parser import parse

from tests.pretended_runs import planned, pretend

from .conftest import ROOT
from .pretended import configs

pytestmark = pytest.mark.slow

TARGETS = [
    *("all", "tables", "figures", "comparison", "audit", "accounting", "cost", "sampling"),
    *("dataset", "dataset_full", "rejoin", "review", "review_results", "paper", "pilot"),
    *("checkpoints", "miniatures"),
]
LACKED = {"tiny": ["review_results"], "listed": ["paper", "rejoin"]}
"""Targets that a config cannot have: nobody has reviewed, or there is no source of images."""


def written_rules():
    """Return the rules that have outputs, by the text of the rule files."""
    texts = [path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]]
    named = r"^ *(?:use rule \w+ as|rule) (\w+)(?: with)?:\n"
    found = set()
    for text in texts:
        _, *parts = re.split(named, text, flags=re.MULTILINE)
        for name, body in zip(parts[::2], parts[1::2], strict=True):
            if re.search(r"^ +output:", body, re.MULTILINE):
                found.add(name)
    return sorted(found)


RULES = written_rules()


@dataclass(frozen=True)
class Plan:
    """What a target needs, and what of it would run. A job is known by its rule and its outputs.

    Attributes
    ----------
    outputs
        The outputs of each rule that has some.
    deletable
        Those that may be deleted.
    affected
        By rule: its jobs, and all jobs that need what they make, directly or not.
    again
        The jobs that would run.
    """

    outputs: dict[str, set[str]]
    deletable: set[str]
    affected: dict[str, set[tuple[str, ...]]]
    again: set[tuple[str, ...]]


class Finished:
    """A folder with the finished runs of several configs.

    Attributes
    ----------
    whole
        By config, the plan of all targets that it has.
    """

    def __init__(self, folder: Path, files: dict[str, Path]) -> None:
        self.folder, self.files = folder, files
        self.targets = {
            name: [target for target in TARGETS if target not in LACKED.get(name, ())]
            for name in files
        }
        for name, file in files.items():
            pretend(folder, file, self.targets[name])
        self.whole = {name: self.plan_now(name, self.targets[name]) for name in files}
        self._plans: dict[tuple[str, str], Plan] = {}

    def plan(self, config: str, target: str) -> Plan:
        """Return the plan of a target of the finished run."""
        key = config, target
        if key not in self._plans:
            self._plans[key] = self.plan_now(config, [target])
        return self._plans[key]

    def plan_now(self, config: str, targets: list[str]) -> Plan:
        """Return the plan of some targets with the files that there are now."""
        with planned(self.folder, self.files[config], targets) as workflow:
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
def parsed_once():
    """Parse each rule file once for all plans of this module: half of the time goes into that."""
    known = {}

    def remembered(path, workflow, linemap, rulecount=0):
        key = path.get_path_or_uri(secret_free=True), rulecount
        if key not in known:
            lines: dict[int, int] = {}
            known[key] = *parse(path, workflow, linemap=lines, rulecount=rulecount), lines
        code, count, lines = known[key]
        linemap.update(lines)
        return code, count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snakemake.workflow.parse", remembered)
        yield


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory, parsed_once):
    folder = tmp_path_factory.mktemp("finished") / "project"
    tiny.copy(folder)
    plain = folder / "config" / "tiny.yaml"
    return Finished(folder, {"tiny": plain} | configs(folder, plain))


def test_the_rules_are_those_of_the_workflow(finished):
    assert set().union(*(plan.outputs for plan in finished.whole.values())) == set(RULES)


def test_a_finished_run_runs_nothing(finished):
    assert {name: plan.again for name, plan in finished.whole.items() if plan.again} == {}


@pytest.mark.parametrize("rule", RULES)
def test_outputs_that_were_deleted_are_made_again_with_all_that_needs_them(rule, finished):
    config = finished.having(rule)
    whole = finished.whole[config]
    targets = [
        target
        for target in finished.targets[config]
        if rule in finished.plan(config, target).outputs
    ]
    with finished.without(whole.outputs[rule]):
        for target in targets:
            plan = finished.plan(config, target)
            needed = plan.outputs[rule] - plan.deletable
            wanted = plan.affected[rule] if needed else set()
            assert finished.plan_now(config, [target]).again == wanted, target


def test_a_deletable_output_is_made_again_when_its_job_failed(finished):
    """A job that fails loses its outputs and what was recorded of them."""
    records = finished.folder / ".snakemake" / "metadata"
    found = set()
    for config, plan in finished.whole.items():
        for rule, outputs in plan.outputs.items():
            if rule in found or not outputs <= plan.deletable:
                continue
            found.add(rule)
            shutil.copytree(records, finished.folder / "records")
            with finished.without(outputs):
                with planned(finished.folder, finished.files[config], ["all"]) as workflow:
                    for file in (file for job in workflow.dag.jobs for file in job.output):
                        if str(file) in outputs:
                            workflow.persistence.cleanup_metadata(file)
                assert (
                    finished.plan_now(config, finished.targets[config]).again == plan.affected[rule]
                ), rule
            shutil.rmtree(records)
            (finished.folder / "records").rename(records)
    assert {"collect_candidates", "prepare_images"} <= found
