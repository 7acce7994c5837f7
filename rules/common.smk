# What the rules share: the checked config, the run's folder, shards, models and paths.
import json
import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

import imagenet_think.core.settings as declarations
from imagenet_think.core import model_sources, paths, provenance, shards, splits
from imagenet_think.images import sources
from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.run import config_file, configuration, workflow_hooks

workflow_hooks.require_version()
try:
    config = configuration.check(config, ", ".join(map(str, workflow.configfiles)))
except configuration.ConfigError as error:
    sys.exit(f"Error: {error}")
try:
    provenance.keep_to_plan(config, planning=workflow.is_main_process)
except provenance.EditedError as error:
    raise WorkflowError(str(error)) from None

R = f"results/{config['run']}"
IMAGES = config["images"]
SOURCE = IMAGES["source"]
PICTURES = configuration.has_pictures(SOURCE)
LAYOUT = sources.get(SOURCE["kind"])
BENCHMARK = config["benchmark"]
PUBLISHED = config["dataset"]
REJOINED = Path(PUBLISHED["rejoin"] or f"{R}/dataset")
TEACHERS = config["teachers"]
MODELS = TEACHERS + config["benchmarked"]
IMPORTED = [key for key in MODELS if "responses" in config["models"][key]]
GENERATED = [key for key in MODELS if key not in IMPORTED]
SHARDS = shards.names(**config["sharding"])
DATASETS = config["statistics"]["datasets"]
METRICS = ["bertscore", "sbert", "rouge", "sets", "vectors"]

# The keys that placeholders stand for; any other placeholder is a wildcard of the job.
PLACEHOLDERS = {
    "teachers": TEACHERS,
    "benchmarked": config["benchmarked"],
    "models": MODELS,
    "generated": GENERATED,
    "imported": IMPORTED,
    "ablation_model": [BENCHMARK["ablation_model"]],
    "prompt": [config["prompt"]],
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
    part_of=r"[^/]+",


@cache
def content_of(repository):
    """Return `model_sources.content`, computed once in a plan; the plan saves it for its jobs."""
    found = model_sources.content(repository)
    if workflow.is_main_process:
        model_sources.save()
    return found


DECLARED = declarations.Declarations(config, PLACEHOLDERS, content_of)
reads, uses, files, content = DECLARED.reads, DECLARED.uses, DECLARED.files, DECLARED.content
derived = declarations.derived


def code(rule):
    """Return a param: the digest of a rule's script and of the modules that a job of it uses."""
    script = Path(workflow.basedir) / "rules" / rule.script
    given = rule.params.get("settings")

    def used(wildcards):
        text = given(wildcards) if callable(given) else given
        named = [json.loads(text or "null"), dict(wildcards.items())]
        return provenance.digest(script, provenance.plugins(named))

    return used


def metric_code(module):
    """Return a param: the digest of a metric's module and of all that it imports, for the cache of scores."""
    file = Path(workflow.basedir) / "scripts" / "imagenet_think" / "metrics" / f"{module}.py"
    return derived(metric_code=lambda wildcards: provenance.digest(file))


def run_code(wildcards):
    """Return one digest of all code that this config's run uses."""
    chosen_plugins = provenance.plugins([config, {"metric": METRICS}])
    scripts = sorted({each.script for each in workflow.rules if each.script and each.output})
    return provenance.digest_text(
        *(
            provenance.digest(Path(workflow.basedir) / "rules" / script, chosen_plugins)
            for script in scripts
        )
    )


REFUSED = {}  # in the order in which they were noted
UNPINNED = set()


def refuse(*reasons):
    """Note why the plan cannot be carried out, and return no input: `check_plan` reports all reasons in one message."""
    REFUSED.update(dict.fromkeys(reasons))
    return []


def check_plan(purpose, dag):
    """Refuse a run for all that input functions noted, and a report of a run that is not finished."""
    problems, unpinned = list(REFUSED), list(configuration.unpinned_problems(sorted(UNPINNED)))
    if purpose == "run":
        problems += unpinned
    elif purpose == "dry run":
        for problem in unpinned:
            logger.warning(f"Only a dry run is possible so far: {problem}.")
    if problems and purpose in ("run", "dry run"):
        sys.exit(f"Error: {config_file.listed('this cannot be run', problems)}")
    missing = workflow_hooks.missing_from_report(dag) if purpose == "report" else []
    if missing:
        what = "is not finished" if Path(R).exists() else "was never run"
        others = f" and {len(missing) - 1} more files" if missing[1:] else ""
        sys.exit(
            f"Error: there is nothing to report yet: {R} {what}; {missing[0]}{others} would be missing. Run the same "
            "command without --report first."
        )


def one_of(models):
    """Return a wildcard's constraint to some models; to none where there are none."""
    return "|".join(map(re.escape, models)) or "(?!)"


def log(name):
    """Return the log file of a rule; `name` holds its wildcards."""
    return f"{R}/logs/{name}.log"


def block_files(pattern):
    """Return `pattern` once for each shard of a block, the block left as a wildcard."""
    digits = sorted({shard[1] for shard in SHARDS})
    return [pattern.replace("{shard}", f"{{block}}{digit}") for digit in digits]


def pinned(*keys):
    """Return no input, and note of hub repositories without revision that the planned jobs need it."""

    def inputs(wildcards):
        paths = (path for key in keys for path in declarations.expand(key, PLACEHOLDERS, wildcards))
        UNPINNED.update({".".join(path) for path in paths} & {*configuration.unpinned(config)})
        return []

    return inputs


def closes_thoughts(wildcards):
    """Return the model of a job if its cut-off thoughts are closed by force."""
    return [wildcards.model] if "close_thought" in config["models"][wildcards.model] else []


def imported_files(wildcards):
    """Return the files of responses that are imported."""
    return paths.parquet_files(config["models"][wildcards.model]["responses"]["path"])


def evaluated_file(wildcards):
    """Return the list of images that a model is asked about; a teacher is asked about all."""
    return [] if wildcards.model in TEACHERS else [f"{R}/images/evaluated.parquet"]


def no_pictures(wildcards):
    """Refuse what shows pictures, or shows them to a model."""
    return refuse(
        f"images.source is of kind {SOURCE['kind']}: the run knows its images by name only, and makes nothing that needs their "
        "pictures (responses, figures 1 and 2, review). `tables` needs none. To have the rest, write `pictures: true` "
        "under images.source if its files hold the images' bytes, or name the images themselves as images.source."
    )


def pilots(wildcards):
    """Return the pilot of each model that is prompted; refuse if there is none."""
    if not GENERATED:
        return refuse(
            "No pilot: every model of the config has `responses`, so that none would be prompted."
        )
    return expand(f"{R}/pilot/{{model}}.parquet", model=GENERATED)


def of_teachers(pattern):
    """Return `pattern` for every teacher and shard, teacher 1 first."""
    return expand(pattern, model=TEACHERS, shard=SHARDS)


def table(name):
    """Return the three forms of a table."""
    return multiext(f"{R}/tables/{name}", ".csv", ".tex", ".md")


def annotations_of_block():
    """Return the annotations of a block, shard by shard: those of all models, teachers first."""
    shards_of_block = block_files(f"{R}/annotations/{{model}}/{{shard}}.parquet")
    return [file.replace("{model}", model) for file in shards_of_block for model in MODELS]


def figure(name, title):
    """Return both forms of a figure; the report shows the pdf, as it cuts tall pictures off."""
    pdf, png = (f"{R}/figures/{name}.{form}" for form in ("pdf", "png"))
    return dict(pdf=shown(pdf, "Figures", title), png=png)


def shown(path, category, title, caption=None):
    """Return an output that the report shows, with the words of rules/report/<caption, or its name>.rst."""
    words = f"report/{caption or Path(path).stem}.rst"
    return report(path, caption=words, category=category, labels={"title": title})


def scored(metric):
    """Return the files of a metric and block: the models' scores, the teachers' agreement."""
    folders = ("scores", "agreement")
    return {name: block_files(f"{R}/{name}/{metric}/{{shard}}.parquet") for name in folders}


def of_metrics(name, metrics=METRICS):
    """Return what was made of the scores of each metric, in the tables' order."""
    return [f"{R}/scores/{metric}/{name}.parquet" for metric in metrics]


def dataset_files(folder):
    """Return the dataset's files by configuration, split and shard, as the script has them."""
    return expand(
        f"{R}/{folder}/{{place}}/{{split}}-{{number:05d}}-of-{len(SHARDS):05d}.parquet",
        place=splits.CONFIGURATIONS.values(),
        split=splits.SPLITS,
        number=range(len(SHARDS)),
    )


def files_to_rejoin(wildcards):
    """Return the files of the dataset whose texts are joined with images again."""
    if PUBLISHED["rejoin"] is None:
        return dataset_files("dataset")
    patterns = expand(
        "{place}/{split}-*.parquet", place=splits.CONFIGURATIONS.values(), split=splits.SPLITS
    )
    files = [path for pattern in patterns for path in sorted(REJOINED.glob(pattern))]
    if not files:
        return refuse(
            f"dataset.rejoin: {REJOINED}/ holds no data/train-….parquet. Name a folder that `snakemake dataset` wrote, "
            "or a copy of it."
        )
    return files


def for_rejoined(pattern):
    """Return a function that gives `pattern` for each file that is rejoined."""
    return lambda wildcards: [
        pattern.format(name=f"{path.parent.name}/{path.stem}")
        for path in map(Path, files_to_rejoin(wildcards))
    ]


def counted_files(wildcards):
    """Return the files of another dataset that is counted."""
    return paths.dataset_files(wildcards.dataset, DATASETS[wildcards.dataset])


def located(wildcards):
    """Return where images lie, by group of classes; refuse a list of images."""
    if not LAYOUT.sampled:
        return refuse(
            f"images.source is of kind {SOURCE['kind']}, and a dataset is rejoined with archives or folders of images: name them "
            "as images.source."
        )
    return expand(f"{R}/rejoin/located/{{group}}.parquet", group=GROUPS)


def sampled_images(wildcards):
    """Return the sample of images; refuse a list of images."""
    if not LAYOUT.sampled:
        return refuse(
            f"No paper of a run with images.source of kind {SOURCE['kind']}: its text tells how images were sampled, and these were "
            "listed. `tables`, `figures` and `comparison` need no sampling."
        )
    return f"{R}/images/sample.parquet"


def decisions(wildcards):
    """Return what reviewers exported; refuse if nothing is named."""
    place = config["review"]["decisions"]
    if place is None:
        return refuse(
            f"No decisions to count: open {R}/review/index.html in a browser (`review` makes it), decide, press Export, "
            "and name the file, or a folder of several reviewers' files, as review.decisions in the config."
        )
    return paths.json_files(place)
