"""The one place that touches Snakemake's private API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake.io import is_flagged


def after_planning(workflow: Any, check: Callable[[str, Any], None]) -> None:
    """Call a function each time the jobs are planned, before anything is done with the plan.

    An error that an input function raises is reported as an InputFunctionException of whatever rule
    happened to be planned first; what input functions note instead can be reported here, together.

    Parameters
    ----------
    workflow
        Snakemake's.
    check
        Gets the purpose of the plan, `run`, `dry run`, `report` or `other` (such as a summary), and
        Snakemake's DAG.
    """
    build, report = workflow._build_dag, workflow.create_report
    purpose = "other"

    def build_and_check() -> None:
        build()
        if workflow.executor_plugin is None:
            check(purpose, workflow.dag)
        else:
            check("dry run" if workflow.dryrun else "run", workflow.dag)

    def create_report(*arguments: Any, **options: Any) -> None:
        nonlocal purpose
        purpose = "report"
        report(*arguments, **options)

    workflow._build_dag, workflow.create_report = build_and_check, create_report


def missing_from_report(dag: Any) -> list[str]:
    """Return the files that Snakemake's report shows and that are not there, in name order."""
    shown = {str(file) for job in dag.jobs for file in job.output if is_flagged(file, "report")}
    return sorted(file for file in shown if not Path(file).exists())
