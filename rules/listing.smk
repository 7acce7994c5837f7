# In: the class list, and parquet files that name images (images.source of kind listing). No picture is read.
# Out: images/sample.parquet, classes.parquet, exclusions.parquet.


rule list_images:
    input:
        classes=IMAGES["classes"],
        files=paths.parquet_files(SOURCE["path"]),
        labels=optional(SOURCE.get("labels")),
    output:
        sample=f"{R}/images/sample.parquet",
        classes=f"{R}/images/classes.parquet",
        exclusions=f"{R}/images/exclusions.parquet",
    log:
        log("list_images"),
    conda:
        "../envs/images.yaml"
    params:
        settings=settings(
            image=SOURCE.get("image", configuration.IMAGE),
            label=SOURCE.get("label"),
            sharding=config["sharding"],
        ),
    message:
        "Listing the images that {SOURCE[path]} names"
    script:
        "../scripts/list_images.py"


rule gather_shard:
    input:
        no_pictures,
    output:
        f"{R}/images/shards/{{shard}}.parquet",
    message:
        "There are no images of shard {wildcards.shard}"


rule sampling:
    input:
        rules.list_images.output,
    message:
        "The images are listed in {R}/images/sample.parquet"
