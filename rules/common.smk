# Shared by the rules: the validated config, the run's folder, shards, models and paths.
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

import imagenet_think.core.settings as declarations
from imagenet_think.core import (
    model_sources,
    paths,
    printing,
    provenance,
    shards,
    splits,
    user_tables,
)
from imagenet_think.images import sources
from imagenet_think.images.sources import class_folders
from imagenet_think.inference import engines
from imagenet_think.inference.engines import executables
from imagenet_think.metrics import registry
from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.report import escaping, products
from imagenet_think.run import config_file, configuration, workflow_hooks

workflow_hooks.require_version()
workflow_hooks.escape_log()
try:
    config = configuration.check(config, ", ".join(map(str, workflow.configfiles)))
except configuration.ConfigError as error:
    sys.exit(f"Error: {error}")
if workflow.is_main_process:
    user_tables.save()
try:
    provenance.keep_to_plan(config, planning=workflow.is_main_process)
except provenance.EditedError as error:
    raise WorkflowError(str(error)) from None

R = f"results/{config['run']}"
IMAGES = config["images"]
SOURCE = IMAGES["source"]
LAYOUT = sources.get(SOURCE["kind"])
PICTURES = LAYOUT.has_pictures(SOURCE)
BENCHMARK = config["benchmark"]
PUBLISHED = config["dataset"]
TEACHERS = config["teachers"]
MODELS = TEACHERS + config["benchmarked"]
IMPORTED = [key for key in MODELS if "responses" in config["models"][key]]
GENERATED = [key for key in MODELS if key not in IMPORTED]
SHARDS = shards.names(**config["sharding"])
DATASETS = config["statistics"]["datasets"]
METRICS = [metric.name for metric in registry.metrics()]
INEXACT = [name for name in METRICS if BENCHMARK[name].get("precision", "float32") != "float32"]
TUNING = sorted({key for metric in registry.metrics() for key in metric.tuning})
SCORING = sorted({key for metric in METRICS for key in BENCHMARK[metric]}.difference(TUNING))

# The keys that placeholders stand for; any other placeholder is a wildcard of the job.
PLACEHOLDERS = {
    "teachers": TEACHERS,
    "benchmarked": config["benchmarked"],
    "models": MODELS,
    "generated": GENERATED,
    "imported": IMPORTED,
    "ablation_model": [BENCHMARK["ablation_model"]],
    "prompt": [config["prompt"]],
    "metrics": METRICS,
    "encoders": [metric.name for metric in registry.metrics() if metric.encoder],
    "setting": SCORING,  # of a metric
    "tokenized": sorted({key for metric in registry.metrics() for key in metric.tokenized}),
    "tuning": TUNING,  # changes no score
}


wildcard_constraints:
    group=r"\d+",
    part=r"\d+",
    block=r"[0-9a-f]",
    shard=r"[0-9a-f]{2}",
    model="|".join(map(re.escape, MODELS)),
    metric="|".join(METRICS),
    folder="|".join(splits.CONFIGURATIONS.values()),
    split="|".join(splits.SPLITS),
    part_of=r"[\w.-]+",


@cache
def content_of(repository):
    """Return `model_sources.content`, computed once in a plan; the plan saves it for its jobs."""
    found = model_sources.content(repository)
    if workflow.is_main_process:
        model_sources.save()
    return found


def outside(key, named):
    """Return the paths that a key stands for, to be taken literally; refuse those that cannot be written down."""
    paths = map(str, [named] if isinstance(named, (str, Path)) else named)
    if unreadable := [path for path in paths if not printing.is_text(path)]:
        return refuse(*(f"{key}: {path}: the name is not UTF-8; rename it" for path in unreadable))
    return workflow_hooks.literal(named)


DECLARED = declarations.Declarations(config, PLACEHOLDERS, content_of, outside)
reads, uses, files, content = DECLARED.reads, DECLARED.uses, DECLARED.files, DECLARED.content
derived = declarations.derived


def code(rule):
    """Return a param: the digest of a rule's script and of the modules that its job uses."""
    script = Path(workflow.basedir) / "rules" / rule.script
    given = rule.params.get("settings")

    def used(wildcards):
        text = given(wildcards) if callable(given) else given
        named = [json.loads(text or "null"), {"metric": METRICS} | dict(wildcards.items())]
        return provenance.digest(script, provenance.plugins(named))

    return used


def metric_code(wildcards):
    """Return the digest of the module that computes a metric, and of all that it imports, for the cache of scores."""
    package = Path(workflow.basedir) / "scripts" / "imagenet_think"
    source = package.joinpath(*registry.get(wildcards.metric).module.split("."))
    return provenance.digest(source.with_suffix(".py"))


REFUSED = {}  # in this order
UNPINNED = set()


def refuse(*reasons):
    """Record why the plan cannot be run, and return no input; `check_plan` reports all reasons at once."""
    REFUSED.update(dict.fromkeys(reasons))
    return []


def check_plan(purpose, dag):
    """Refuse a run for the reasons that input functions recorded, and a report of an unfinished run."""
    problems, lacking = list(REFUSED), configuration.unpinned_problems(sorted(UNPINNED))
    if purpose in ("run", "dry run"):
        lacking += vllm_problems(dag)
    if purpose == "run":
        problems += lacking
    elif purpose == "dry run":
        for problem in lacking:
            logger.warning(f"Only a dry run is possible so far: {problem}.")
    if problems and purpose in ("run", "dry run"):
        sys.exit(f"Error: {config_file.listed('this cannot be run', problems)}")
    if purpose != "report":
        return
    model = config["models"][BENCHMARK["ablation_model"]]["name"]
    captions = {
        path: escaping.rst(entry.about.format(ablation_model=model))
        for path, entry in REPORT_ENTRIES.items()
    }
    workflow.config["described"] = {  # for run.rst
        key: escaping.rst(config["models"][key]["name"]) for key in MODELS
    }
    workflow_hooks.caption_report(dag, captions)
    if missing := workflow_hooks.missing_from_report(dag):
        what = "is not finished" if Path(R).exists() else "was never run"
        others = f" and {len(missing) - 1} more files" if missing[1:] else ""
        sys.exit(
            f"Error: there is nothing to report yet: {R} {what}; {missing[0]}{others} would be missing. Run the same "
            "command without --report first."
        )


def one_of(models):
    """Return the constraint of a wildcard to some models, or to none."""
    return "|".join(map(re.escape, models)) or "(?!)"


def log(name):
    """Return the log file of a rule; `name` holds its wildcards."""
    return f"{R}/logs/{name}.log"


def block_files(pattern):
    """Return `pattern` for each shard of a block, with the block as a wildcard."""
    digits = sorted({shard[1] for shard in SHARDS})
    return [pattern.replace("{shard}", f"{{block}}{digit}") for digit in digits]


def pinned(*keys):
    """Return an input function that records hub repositories without a revision, and no input."""

    def inputs(wildcards):
        paths = (path for key in keys for path in declarations.expand(key, PLACEHOLDERS, wildcards))
        UNPINNED.update({".".join(path) for path in paths} & {*configuration.unpinned(config)})
        return []

    return inputs


def by_shard(pattern, models=TEACHERS):
    """Return `pattern` for every model and shard, by default for both teachers."""
    return expand(pattern, model=models, shard=SHARDS)


def table(name):
    """Return the files of a table."""
    return multiext(f"{R}/tables/{name}", *products.TABLE_FILES)


def figure(product):
    """Return both files of a figure; the report shows the pdf, because it crops tall pictures."""
    pdf, png = (f"{R}/{file}" for file in product.files)
    return dict(pdf=shown(pdf, product), png=png)


REPORT_ENTRIES = {}  # by path


def shown(path, entry):
    """Return an output that the report shows; `check_plan` gives it its caption."""
    REPORT_ENTRIES[path] = entry
    return report(path, category=entry.category, labels={"title": entry.title})
