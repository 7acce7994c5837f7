# What the rules share: the checked config, the run's folder, shards, models, params and paths.
import json
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from imagenet_think import configuration, repositories, shards

try:
    config = configuration.check(config, ", ".join(map(str, workflow.configfiles)))
except configuration.ConfigError as error:
    raise WorkflowError(str(error)) from None

R = f"results/{config['run']}"
IMAGES = config["images"]
BENCHMARK = config["benchmark"]
TEACHERS = config["teachers"]
MODELS = TEACHERS + config["benchmarked"]
NAMES = {key: config["models"][key]["name"] for key in MODELS}
BLOCKS = shards.blocks(**config["sharding"])
SHARDS = shards.names(**config["sharding"])


wildcard_constraints:
    group=r"\d+",
    block=r"[0-9a-f]",
    shard=r"[0-9a-f]{2}",
    model="|".join(map(re.escape, MODELS)),
    metric=r"[a-z]+",


def as_json(**keys):
    """Return what a stage reads as JSON with sorted keys: one param, the same for any order of keys."""
    return json.dumps(keys, sort_keys=True, ensure_ascii=False)


def settings(**keys):
    """Return `as_json` as a function: Snakemake would look for wildcards in a text's braces."""
    text = as_json(**keys)
    return lambda wildcards: text


def log(name):
    """Return the log file of a rule; `name` holds its wildcards."""
    return f"{R}/logs/{name}.log"


@cache
def class_ids():
    """Return the classes that may be drawn, in the class list's order."""
    if IMAGES["source"]["kind"] == "drawings":
        return IMAGES["source"]["classes"]
    lines = Path(IMAGES["classes"]).read_text(encoding="utf-8").splitlines()
    return [line.split("\t", 1)[0] for line in lines[1:]]


def group_classes(group):
    """Return every `groups`-th class: groups of the same size, whatever the list's order."""
    return class_ids()[int(group) :: IMAGES["groups"]]


@cache
def present_tars():
    """Return the names of the class tars in the source folder, or say where they belong."""
    folder = Path(IMAGES["source"]["path"])
    names = {path.name for path in folder.glob("*.tar")} if folder.is_dir() else set()
    if not names & {f"{wnid}.tar" for wnid in class_ids()}:
        raise WorkflowError(
            f"No images: {folder}/ holds no class archive. Put ImageNet-21k's archives there, one "
            f"{class_ids()[0]}.tar a class (from winter21_whole.tar.gz or fall11_whole.tar; "
            "https://image-net.org), or name another folder as images.source.path in the config. "
            "`make demo` runs without them."
        )
    return names


def class_tars(wildcards):
    """Return the tars of a group of classes that exist, or will be drawn."""
    tars = [f"{wnid}.tar" for wnid in group_classes(wildcards.group)]
    if IMAGES["source"]["kind"] != "drawings":
        tars = [tar for tar in tars if tar in present_tars()]
    return [f"{IMAGES['source']['path']}/{tar}" for tar in tars]


def block_files(pattern):
    """Return `pattern` once for each shard of a block, the block left as a wildcard."""
    digits = sorted({shard[1] for shard in SHARDS})
    return [pattern.replace("{shard}", f"{{block}}{digit}") for digit in digits]


def checkpoint_files(wildcards):
    """Return the files of a local checkpoint; refuse a real run of a hub model without revision."""
    if not workflow.dryrun:
        missing = configuration.unpinned(config)
        if missing:
            raise WorkflowError(
                f"No revision for {', '.join(missing)}: run `snakemake pin` once on a machine that "
                "reaches the hub; it asks for the current commits and writes them into the config."
            )
    return repositories.files(config["models"][wildcards.model]["repository"])


def of_teachers(pattern):
    """Return `pattern` for every teacher and shard, teacher 1 first."""
    return expand(pattern, model=TEACHERS, shard=SHARDS)


def table(name):
    """Return the three forms of a table."""
    return multiext(f"{R}/tables/{name}", ".csv", ".tex", ".md")


def annotations_of_shard():
    """Return the annotations of one shard by all models, teachers first."""
    return expand(f"{R}/annotations/{{model}}/{{{{shard}}}}.parquet", model=MODELS)


def figure(name):
    """Return both forms of a figure."""
    return dict(pdf=f"{R}/figures/{name}.pdf", png=f"{R}/figures/{name}.png")
