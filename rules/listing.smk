# In: the class list, and parquet files that list images (images.source of kind listing), with their pictures where
# images.source.pictures says so.
# Out: images/sample.parquet, classes.parquet, exclusions.parquet, listing.md; with pictures also candidates/.
LISTED = paths.parquet_files(SOURCE["path"])
GROUPS = [str(group) for group in range(len(LISTED))] if PICTURES else []
CANDIDATES = expand(f"{R}/images/candidates/{{group}}.parquet", group=GROUPS)


if PICTURES:

    rule prepare_images:
        input:
            classes=files("images.classes"),
            file=files("images.source.path", by=lambda wildcards: LISTED[int(wildcards.group)]),
            labels=files("images.source.labels"),
        output:
            workflow_hooks.deletable(f"{R}/images/candidates/{{group}}.parquet"),
        log:
            log("prepare_images/{group}"),
        benchmark:
            f"{R}/benchmarks/prepare_images/{{group}}.tsv"
        conda:
            "../envs/images.yaml"
        threads: 4
        params:
            settings=reads(
                "images.source.image",
                "images.source.label",
                "images.criteria.max_pixels",
                "images.preparation",
            ),
        message:
            "Preparing the images of {input.file}"
        script:
            "../scripts/images/prepare_images.py"


rule list_images:
    input:
        classes=files("images.classes"),
        files=CANDIDATES if PICTURES else files("images.source.path", by=lambda wildcards: LISTED),
        labels=[] if PICTURES else files("images.source.labels"),
    output:
        sample=f"{R}/images/sample.parquet",
        classes=f"{R}/images/classes.parquet",
        exclusions=f"{R}/images/exclusions.parquet",
        page=f"{R}/images/listing.md",
    log:
        log("list_images"),
    conda:
        "../envs/images.yaml"
    params:
        settings=reads(
            "sharding",
            "images.source.pictures",
            "images.source.image",
            *([] if PICTURES else ["images.source.label"]),
        ),
    message:
        "Listing the images that {SOURCE[path]} names"
    script:
        "../scripts/images/list_images.py"


rule sampling:
    input:
        rules.list_images.output,
    message:
        "How the images are known is told in {R}/images/listing.md"
