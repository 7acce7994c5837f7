# In: images/, responses/, annotations/; for `rejoin` a dataset and the catalogue of one's own images.
# Out: dataset/data and dataset/failed; dataset_full/, the same with images; dataset_rejoined/, likewise.
# Also README.md and croissant.json of dataset/ and dataset_full/.
localrules:
    push_dataset,


REJOINED = Path(PUBLISHED["rejoin"] or f"{R}/dataset")


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
    return files


def for_rejoined(pattern):
    """Return an input function: `pattern` for each file that is rejoined."""
    return lambda wildcards: [
        pattern.format(name=f"{path.parent.name}/{path.stem}")
        for path in map(Path, files_to_rejoin(wildcards))
    ]


def located(wildcards):
    """Return the located images by group of classes; refuse a list of images."""
    if not LAYOUT.sampled:
        return refuse(
            f"images.source is of kind {SOURCE['kind']}, but a dataset is rejoined with archives or folders of images: name "
            "them as images.source."
        )
    return expand(f"{R}/rejoin/located/{{group}}.parquet", group=GROUPS)


rule build_dataset:
    input:
        sample=f"{R}/images/sample.parquet",
        responses=of_teachers(f"{R}/responses/{{model}}/{{shard}}.parquet"),
        annotations=of_teachers(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
    output:
        dataset_files("dataset"),
    log:
        log("build_dataset"),
    benchmark:
        f"{R}/benchmarks/build_dataset.tsv"
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "sharding",
            "teachers",
            "prompts.{prompt}",
            "models.{teachers}.decoding",
            "dataset.test",
            "dataset.validation",
        ),
    message:
        "Writing the dataset"
    script:
        "../scripts/dataset/build_dataset.py"


use rule build_dataset as build_dataset_full with:
    input:
        sample=f"{R}/images/sample.parquet",
        responses=of_teachers(f"{R}/responses/{{model}}/{{shard}}.parquet"),
        annotations=of_teachers(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
        images=expand(f"{R}/images/shards/{{shard}}.parquet", shard=SHARDS),
    output:
        dataset_files("dataset_full"),
    log:
        log("build_dataset_full"),
    benchmark:
        f"{R}/benchmarks/build_dataset_full.tsv"
    message:
        "Writing the dataset with images"


rule dataset:
    input:
        dataset_files("dataset"),
        f"{R}/dataset/README.md",
        f"{R}/dataset/croissant.json",
    message:
        "The dataset is in {R}/dataset"


rule dataset_full:
    input:
        dataset_files("dataset_full"),
        f"{R}/dataset_full/README.md",
        f"{R}/dataset_full/croissant.json",
    message:
        "The dataset with images, for your own use, is in {R}/dataset_full"


rule locate_images:
    input:
        dataset=files("dataset.rejoin", by=files_to_rejoin),
        catalogue=f"{R}/images/catalogue/{{group}}.parquet",
    output:
        f"{R}/rejoin/located/{{group}}.parquet",
    log:
        log("locate_images/{group}"),
    conda:
        "../envs/images.yaml"
    params:
        settings=reads("images.source.kind"),
    message:
        "Looking for the dataset's images in class group {wildcards.group}"
    script:
        "../scripts/dataset/locate_images.py"


rule rejoin_images:
    input:
        dataset=f"{REJOINED}/{{folder}}/{{split}}-{{part_of}}.parquet",
        located=located,
    output:
        rows=f"{R}/dataset_rejoined/{{folder}}/{{split}}-{{part_of}}.parquet",
        missing=f"{R}/rejoin/missing/{{folder}}/{{split}}-{{part_of}}.parquet",
    log:
        log("rejoin_images/{folder}/{split}-{part_of}"),
    benchmark:
        f"{R}/benchmarks/rejoin_images/{{folder}}/{{split}}-{{part_of}}.tsv"
    conda:
        "../envs/images.yaml"
    params:
        settings=reads(
            "images.source.kind",
            "images.source.path",
            "images.preparation",
            "images.criteria.max_pixels",
        ),
    message:
        "Joining {wildcards.folder}/{wildcards.split}-{wildcards.part_of} with its images"
    script:
        "../scripts/dataset/rejoin_images.py"


rule report_missing:
    input:
        dataset=files("dataset.rejoin", by=for_rejoined(f"{R}/dataset_rejoined/{{name}}.parquet")),
        missing=files("dataset.rejoin", by=for_rejoined(f"{R}/rejoin/missing/{{name}}.parquet")),
    output:
        report=f"{R}/dataset_rejoined/missing.csv",
        card=f"{R}/dataset_rejoined/README.md",
    log:
        log("report_missing"),
    conda:
        "../envs/texts.yaml"
    message:
        "Gathering which images are missing"
    script:
        "../scripts/dataset/report_missing.py"


rule rejoin:
    input:
        rules.report_missing.output,
    message:
        "The rejoined dataset is in {R}/dataset_rejoined; missing.csv there names the rows without image"


rule write_card:
    input:
        files=dataset_files("dataset"),
        tables=expand(f"{R}/tables/{{name}}.csv", name=["table1", "table2"]),
        language=f"{R}/tables/language.md",
        reported="resources/reported.yaml",
        template="scripts/dataset/write_card.md",
    output:
        f"{R}/dataset/README.md",
    log:
        log("write_card"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "run",
            "teachers",
            "prompt",
            "prompts.{prompt}",
            "images.source.kind",
            *(["images.criteria"] if LAYOUT.sampled else []),
            *(["images.preparation"] if PICTURES else []),
            "models.{teachers}.name",
            "models.{teachers}.repository",
            "models.{teachers}.system",
            "models.{teachers}.template",
            "models.{teachers}.prefix",
            "models.{teachers}.output",
            "dataset.repository",
            "dataset.license",
            "dataset.test",
            "dataset.validation",
        ),
        statuses=derived(statuses=STATUSES),
        full=derived(full=False),
    message:
        "Writing the dataset's card"
    script:
        "../scripts/dataset/write_card.py"


use rule write_card as write_card_full with:
    input:
        files=dataset_files("dataset_full"),
        tables=expand(f"{R}/tables/{{name}}.csv", name=["table1", "table2"]),
        language=f"{R}/tables/language.md",
        reported="resources/reported.yaml",
        template="scripts/dataset/write_card.md",
    output:
        f"{R}/dataset_full/README.md",
    log:
        log("write_card_full"),
    params:
        settings=rules.write_card.params.settings,
        statuses=rules.write_card.params.statuses,
        full=derived(full=True),
    message:
        "Writing the card of the dataset with images"


rule write_croissant:
    input:
        files=dataset_files("dataset"),
        images=f"{R}/tables/table2.csv",
        reported="resources/reported.yaml",
    output:
        f"{R}/dataset/croissant.json",
    log:
        log("write_croissant"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "run",
            "teachers",
            "prompt",
            "prompts.{prompt}",
            "images.source.kind",
            "models.{teachers}.name",
            "models.{teachers}.repository",
            "dataset.repository",
            "dataset.license",
            "dataset.version",
            "dataset.published",
        ),
        full=derived(full=False),
    message:
        "Describing the dataset in Croissant"
    script:
        "../scripts/dataset/write_croissant.py"


use rule write_croissant as write_croissant_full with:
    input:
        files=dataset_files("dataset_full"),
        images=f"{R}/tables/table2.csv",
        reported="resources/reported.yaml",
    output:
        f"{R}/dataset_full/croissant.json",
    log:
        log("write_croissant_full"),
    params:
        settings=rules.write_croissant.params.settings,
        full=derived(full=True),
    message:
        "Describing the dataset with images in Croissant"


rule push_dataset:
    input:
        files=dataset_files("dataset"),
        card=f"{R}/dataset/README.md",
        croissant=f"{R}/dataset/croissant.json",
    log:
        log("push_dataset"),
    conda:
        "../envs/inference.yaml"
    params:
        settings=reads("dataset.repository", "dataset.private"),
        confirmed=lambda wildcards: os.environ.get("IMAGENET_THINK_PUSH"),
    message:
        "What would go to the hub; it goes where IMAGENET_THINK_PUSH names the repository"
    script:
        "../scripts/dataset/push_dataset.py"
