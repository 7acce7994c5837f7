# In: images/, responses/, annotations/; for `rejoin` a dataset and the catalogue of one's own images.
# Out: dataset/data and dataset/failed; dataset_full/, the same with images; dataset_rejoined/, likewise.


rule build_dataset:
    input:
        sample=f"{R}/images/sample.parquet",
        responses=by_shard(f"{R}/responses/{{model}}/{{shard}}.parquet"),
        annotations=by_shard(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
    output:
        dataset_files("dataset"),
    log:
        log("build_dataset/{number}"),
    benchmark:
        f"{R}/benchmarks/build_dataset/{{number}}.tsv"
    conda:
        "../envs/texts.yaml"
    params:
        settings=lambda wildcards: as_json(
            **chosen(PUBLISHED, "test", "validation"),
            shard=SHARDS[int(wildcards.number)],
            teachers=TEACHERS,
            prompts=chosen(config["prompts"], config["prompt"]),
            decoding=[
                None if teacher in IMPORTED else config["models"][teacher]["decoding"]
                for teacher in TEACHERS
            ],
        ),
    message:
        "Writing the dataset, file {wildcards.number}"
    script:
        "../scripts/build_dataset.py"


use rule build_dataset as build_dataset_full with:
    input:
        sample=f"{R}/images/sample.parquet",
        responses=by_shard(f"{R}/responses/{{model}}/{{shard}}.parquet"),
        annotations=by_shard(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
        images=by_shard(f"{R}/images/shards/{{shard}}.parquet"),
    output:
        dataset_files("dataset_full"),
    log:
        log("build_dataset_full/{number}"),
    benchmark:
        f"{R}/benchmarks/build_dataset_full/{{number}}.tsv"
    message:
        "Writing the dataset with images, file {wildcards.number}"


rule dataset:
    input:
        dataset_files("dataset", NUMBERS),
        f"{R}/dataset/README.md",
        f"{R}/dataset/croissant.json",
    message:
        "The dataset is in {R}/dataset"


rule dataset_full:
    input:
        dataset_files("dataset_full", NUMBERS),
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
