"""The object that Snakemake puts into the globals of a script, for type checkers."""

from typing import Any, Protocol


class SnakemakeJob(Protocol):
    """The job that runs a script."""

    input: Any
    output: Any
    params: Any
    wildcards: Any
    log: list[str]
    threads: int


snakemake: SnakemakeJob
