# In: images/, responses/, annotations/; for `rejoin` a dataset and the catalogue of your own images.
# Out: dataset/ without images, dataset_full/ with images, each with README.md and croissant.json; dataset_rejoined/.
localrules:
    push_dataset,


wildcard_constraints:
    form="dataset|dataset_full",


REJOINED = Path(PUBLISHED["rejoin"] or f"{R}/dataset")


rule build_dataset:
    input:
        sample=f"{R}/images/sample.parquet",
        responses=by_shard(f"{R}/responses/{{model}}/{{shard}}.parquet"),
        annotations=by_shard(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
        images=lambda wildcards: (
            expand(f"{R}/images/shards/{{shard}}.parquet", shard=SHARDS)
            if has_images(wildcards)
            else []
        ),
    output:
        dataset_files("{{form}}"),
    log:
        log("build_dataset/{form}"),
    benchmark:
        f"{R}/benchmarks/build_dataset/{{form}}.tsv"
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "sharding",
            "teachers",
            "prompts.{prompt}",
            "models.{teachers}.decoding",
            # Where the sampling settings of a teacher are its checkpoint's.
            "models.{deferring}.repository",
            "models.{deferring}.revision",
            "dataset.test",
            "dataset.validation",
            deferring=teachers_that_defer,
        ),
    message:
        "Writing {wildcards.form}/"
    script:
        "../scripts/dataset/build_dataset.py"


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
        "Finding the dataset's images in class group {wildcards.group}"
    script:
        "../scripts/dataset/locate_images.py"


rule rejoin_images:
    input:
        dataset=files("dataset.rejoin", by=file_to_rejoin),
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
        "Listing the missing images"
    script:
        "../scripts/dataset/report_missing.py"


rule rejoin:
    input:
        rules.report_missing.output,
    message:
        "The rejoined dataset is in {R}/dataset_rejoined; missing.csv there lists the rows without image"


rule write_card:
    input:
        files=dataset_files("{{form}}"),
        tables=expand(f"{R}/tables/{{name}}.csv", name=["table1", "table2", "language"]),
        language=f"{R}/tables/language.md",
        criteria=files("images.criteria", by=criteria_files) if LAYOUT.sampled else [],
        reported="resources/reported.yaml",
        template="scripts/dataset/write_card.md",
    output:
        f"{R}/{{form}}/README.md",
    log:
        log("write_card/{form}"),
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
            "review.decisions",
            "dataset.repository",
            "dataset.license",
            "dataset.test",
            "dataset.validation",
        ),
        statuses=derived(statuses=STATUSES),
        full=derived(full=has_images),
    message:
        "Writing the card of {wildcards.form}/"
    script:
        "../scripts/dataset/write_card.py"


rule write_croissant:
    input:
        files=dataset_files("{{form}}"),
        tables=expand(f"{R}/tables/{{name}}.csv", name=["table2", "language"]),
        criteria=files("images.criteria", by=criteria_files) if LAYOUT.sampled else [],
        reported="resources/reported.yaml",
    output:
        f"{R}/{{form}}/croissant.json",
    log:
        log("write_croissant/{form}"),
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
            "models.{teachers}.name",
            "models.{teachers}.repository",
            "review.decisions",
            "dataset.repository",
            "dataset.license",
            "dataset.version",
            "dataset.published",
        ),
        full=derived(full=has_images),
    message:
        "Describing {wildcards.form}/ in Croissant"
    script:
        "../scripts/dataset/write_croissant.py"


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
        "Uploading the dataset to the hub if IMAGENET_THINK_PUSH names the repository; otherwise listing its files"
    script:
        "../scripts/dataset/push_dataset.py"
