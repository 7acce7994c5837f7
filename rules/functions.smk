# The functions of the rules, stage by stage: input files and params that depend on wildcards, and refusals.


# images


def no_pictures(wildcards):
    """Refuse whatever shows images or prompts models with them."""
    return refuse(
        f"images.source is of kind {SOURCE['kind']}: the run knows its images only by name and cannot make what needs the "
        "images themselves (responses, figures 1 and 2, review). `tables` does not need them. Otherwise write `pictures: true` "
        "under images.source if its files hold the images' bytes, or name the images themselves as images.source."
    )


@cache
def class_ids():
    """Return the classes that may be drawn, in the class list's order."""
    return configuration.class_ids(config)


def group_classes(group):
    """Return every `groups`-th class, so that groups have the same size."""
    return class_ids()[int(group) :: IMAGES["groups"]]


@cache
def present_places():
    """Return the archives and folders in the source folder that hold images; refuse if there are none."""
    if problems := list(LAYOUT.problems(SOURCE, class_ids())):
        return refuse(*problems)
    return LAYOUT.places(SOURCE["path"], class_ids())


def group_places(group):
    """Return the places that a group lists, relative to the source folder.

    What an outer archive holds is only known once it is unpacked.
    """
    if LAYOUT.made_by == "unpacking":
        return []
    if not LAYOUT.by_class:
        return present_places()[int(group) :: IMAGES["groups"]]
    if LAYOUT.made_by != "user":
        return list(map(LAYOUT.place_of, group_classes(group)))
    return LAYOUT.places(SOURCE["path"], group_classes(group)) if present_places() else []


def place_inputs(wildcards):
    """Return the archives or folders that a group lists; for a whole source folder, every folder in it."""
    if LAYOUT.pattern == ".":
        return class_folders.folders(Path(SOURCE["path"]))
    return [f"{SOURCE['path']}/{place}" for place in group_places(wildcards[0])]


def listings(wildcards):
    """Return the listings of all places that hold many classes."""
    parts = range(min(IMAGES["groups"], len(present_places())))
    return expand(f"{R}/images/listing/{{part}}.parquet", part=parts)


def outer_archive(wildcards):
    """Return the archive of class archives, which may be deleted after unpacking."""
    if not Path(SOURCE["archive"]).is_file() and not Path(f"{R}/images/unpacked.parquet").exists():
        return refuse(f"images.source.archive: {SOURCE['archive']}: no such file")
    return SOURCE["archive"]


def criteria_files(wildcards):
    """Return the files that the criteria name: deny lists, and a scorer of the user's own."""
    return configuration.files_of("images.criteria", config)


# inference


def teachers_that_defer(wildcards):
    """Return the teachers whose sampling settings are those that their checkpoints publish."""
    decoding = {key: config["models"][key].get("decoding", {}) for key in TEACHERS}
    return [key for key in TEACHERS if decoding[key].get("from_checkpoint")]


def closes_thoughts(wildcards):
    """Return a job's model if its cut-off thinking is closed by force."""
    return [wildcards.model] if "close_thought" in config["models"][wildcards.model] else []


def imported_files(wildcards):
    """Return the files of a model's existing responses."""
    return paths.table_files(config["models"][wildcards.model]["responses"]["path"])


def gpus(wildcards):
    """Return the number of GPUs of a job that prompts a model; a server that runs already has its own."""
    engine = engines.chosen(config["models"][wildcards.model], config["inference"])
    return {"vllm": config["engines"]["vllm"]["gpus"], "server": 0}.get(engine, 1)


def vllm_problems(dag):
    """Return what is wrong if vLLM is missing and the plan prompts models by it for the first time.

    A job whose responses are all in the journal needs no engine; one that lacks some says it itself.
    """
    command = config["engines"]["vllm"]["command"]
    # A name without a slash is looked up where the jobs run.
    if "/" not in command or executables.found(command):
        return []
    planned = workflow_hooks.wildcards(dag, "generate_responses", "generate_pilot")
    lacking = [
        model
        for model in {each["model"] for each in planned}
        if engines.chosen(config["models"][model], config["inference"]) == "vllm"
        and not any(Path(R, "journal", model).glob("*.jsonl"))
    ]
    return [executables.missing(command)] if lacking else []


def evaluated_file(wildcards):
    """Return the images that a model is prompted with, unless it is a teacher and prompted with all."""
    return [] if wildcards.model in TEACHERS else [f"{R}/images/evaluated.parquet"]


# metrics


def annotations_of_block():
    """Return the annotations of a block, shard by shard: those of all models, teachers first."""
    shards_of_block = block_files(f"{R}/annotations/{{model}}/{{shard}}.parquet")
    return [file.replace("{model}", model) for file in shards_of_block for model in MODELS]


def statistics_of(metric):
    """Return the files that a metric needs besides the texts, by name."""
    return {name: f"{R}/statistics/{name}.parquet" for name in registry.get(metric).statistics}


# analysis


def counted_files(wildcards):
    """Return the files of another dataset of Table 1."""
    return paths.dataset_files(wildcards.dataset, DATASETS[wildcards.dataset])


# report


def sampled_images(wildcards):
    """Return the sample of images; refuse a list of images."""
    if LAYOUT.sampled:
        return f"{R}/images/sample.parquet"
    return refuse(
        f"The paper describes how images were sampled, but images.source of kind {SOURCE['kind']} lists them. `tables`, "
        "`figures` and `comparison` need no sampling."
    )


def product_files(pattern):
    """Return the input files that a product declares by a pattern: one, or a list."""
    if key := products.named_key(pattern):
        return files(key, by=FOUND_BY.get(key))
    paths = expand(pattern, **PLACES)
    return paths if "{" in pattern.replace("{run}", "") else paths[0]


def create_rule(stem, written):
    """Create the rule of a script, with the products that it writes.

    A function of its own, because Snakemake evaluates the path of the script when the job runs.
    """
    first = written[0]

    rule:
        name:
            stem
        input:
            **{name: product_files(pattern) for name, pattern in first.inputs.items()},
        output:
            **(
                figure(first)
                if first.is_figure
                else {each.name: table(each.name) for each in written}
            ),
        log:
            log(stem),
        conda:
            "../envs/figures.yaml" if first.is_figure else "../envs/texts.yaml"
        params:
            settings=reads(*first.reads),
        message:
            first.title
        script:
            f"../scripts/{first.stage}/{stem}.py"


def create_rules(stage):
    """Create the rules of a stage's tables and figures, except those of tables of scores."""
    for stem, written in products.by_script(stage).items():
        if stem != "table_benchmark":
            create_rule(stem, written)


def metrics_of(table):
    """Return the names of the metrics that a table of scores prints."""
    return [metric.name for metric in registry.tables()[table].metrics]


# dataset


def has_images(wildcards):
    """Return whether a form of the dataset contains the images."""
    return wildcards.form == "dataset_full"


def dataset_files(folder):
    """Return the dataset's files by configuration, split and shard, in the script's order."""
    return expand(
        f"{R}/{folder}/{{place}}/{{split}}-{{number:05d}}-of-{len(SHARDS):05d}.parquet",
        place=splits.CONFIGURATIONS.values(),
        split=splits.SPLITS,
        number=range(len(SHARDS)),
    )


def files_to_rejoin(wildcards):
    """Return the files of the dataset whose texts are joined with images."""
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
    # The rejoined files get their names, which Snakemake must not take for patterns.
    if strange := [path for path in files if not re.fullmatch(r"[\w.-]+", path.name)]:
        return refuse(
            *(
                f"dataset.rejoin: {path}: rename it, as in train-00000-of-00064.parquet"
                for path in strange
            )
        )
    if problems := splits.numbering_problems(files):
        return refuse(
            *(
                f"dataset.rejoin: {REJOINED}/{problem}. Copy the whole dataset, and nothing else, there."
                for problem in problems
            )
        )
    return list(map(str, files))


def file_to_rejoin(wildcards):
    """Return the file of the dataset with these texts."""
    return f"{REJOINED}/{wildcards.folder}/{wildcards.split}-{wildcards.part_of}.parquet"


def for_rejoined(pattern):
    """Return an input function: `pattern` for each file that is rejoined."""
    return lambda wildcards: [
        pattern.format(name=f"{path.parent.name}/{path.stem}")
        for path in map(Path, files_to_rejoin(wildcards))
    ]


def located(wildcards):
    """Return the located images by group of classes; refuse a list of images."""
    if LAYOUT.sampled:
        return expand(f"{R}/rejoin/located/{{group}}.parquet", group=GROUPS)
    return refuse(
        f"images.source is of kind {SOURCE['kind']}, but a dataset is rejoined with archives or folders of images: name "
        "them as images.source."
    )


# review


def decisions(wildcards):
    """Return the reviewers' exported decisions; refuse if there are none."""
    place = config["review"]["decisions"]
    if place is None:
        return refuse(
            f"There are no decisions yet: open {R}/review/index.html (from `snakemake review`) in a browser, decide, press "
            "Export, and name the file, or a folder of several reviewers' files, as review.decisions in the config."
        )
    return paths.json_files(place)


# run


def pilots(wildcards):
    """Return the pilot of each prompted model; refuse the run if there is none."""
    return expand(f"{R}/pilot/{{model}}.parquet", model=GENERATED) or refuse(
        "There is no pilot: every model of the config has `responses`, so none would be prompted."
    )


def run_code(wildcards):
    """Return one digest of all the code that this config's run uses."""
    used = provenance.plugins([config, {"metric": METRICS}])
    scripts = sorted({each.script for each in workflow.rules if each.script and each.output})
    folder = Path(workflow.basedir) / "rules"
    return provenance.digest_text(*(provenance.digest(folder / each, used) for each in scripts))
