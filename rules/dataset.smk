# In: images/, responses/, annotations/; for `rejoin` a dataset and the catalogue of one's own images.
# Out: dataset/data and dataset/failed; dataset_full/, the same with images; dataset_rejoined/, likewise.


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
        "../scripts/build_dataset.py"


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
        "../scripts/locate_images.py"


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
        "../scripts/rejoin_images.py"


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
        "../scripts/report_missing.py"


rule rejoin:
    input:
        rules.report_missing.output,
    message:
        "The rejoined dataset is in {R}/dataset_rejoined; missing.csv there names the rows without image"
