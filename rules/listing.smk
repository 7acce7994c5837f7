# In: the class list, and parquet files that list images (images.source of kind listing), with their pictures where
# images.source.pictures says so.
# Out: images/sample.parquet, classes.parquet, exclusions.parquet, listing.md; with pictures also candidates/.
LISTED = paths.parquet_files(SOURCE["path"])
GROUPS = [str(group) for group in range(len(LISTED))] if PICTURES else []
CANDIDATES = expand(f"{R}/images/candidates/{{group}}.parquet", group=GROUPS)
LISTED_BY = dict(image=SOURCE.get("image", configuration.IMAGE), label=SOURCE.get("label"))


if PICTURES:

    rule prepare_images:
        input:
            classes=IMAGES["classes"],
            file=lambda wildcards: LISTED[int(wildcards.group)],
            labels=optional(SOURCE.get("labels")),
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
            settings=settings(
                **LISTED_BY,
                max_pixels=IMAGES["criteria"]["max_pixels"],
                preparation=IMAGES["preparation"],
            ),
        message:
            "Preparing the images of {input.file}"
        script:
            "../scripts/prepare_images.py"


rule list_images:
    input:
        classes=IMAGES["classes"],
        files=CANDIDATES if PICTURES else LISTED,
        labels=[] if PICTURES else optional(SOURCE.get("labels")),
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
        settings=settings(
            **(chosen(LISTED_BY, "image") if PICTURES else LISTED_BY),
            prepared=PICTURES,
            sharding=config["sharding"],
        ),
    message:
        "Listing the images that {SOURCE[path]} names"
    script:
        "../scripts/list_images.py"


rule sampling:
    input:
        rules.list_images.output,
    message:
        "How the images are known is told in {R}/images/listing.md"
