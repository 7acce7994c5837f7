# Out: images/sample.parquet, classes.parquet, exclusions.parquet, evaluated.parquet, and the images' shards/.

if SAMPLED:

    include: "sampling.smk"

else:

    include: "listing.smk"


if PICTURES:

    rule gather_shard:
        input:
            sample=f"{R}/images/sample.parquet",
            candidates=CANDIDATES,
        output:
            workflow_hooks.deletable(block_files(f"{R}/images/shards/{{shard}}.parquet")),
        log:
            log("gather_shard/{block}"),
        conda:
            "../envs/images.yaml"
        message:
            "Gathering the images of block {wildcards.block}"
        script:
            "../scripts/images/gather_shard.py"

else:

    rule gather_shard:
        input:
            no_pictures,
        output:
            block_files(f"{R}/images/shards/{{shard}}.parquet"),
        message:
            "There are no images of block {wildcards.block}"


rule select_evaluated:
    input:
        sample=f"{R}/images/sample.parquet",
    output:
        f"{R}/images/evaluated.parquet",
    log:
        log("select_evaluated"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads("seed", "benchmark.images"),
    message:
        "Selecting the images on which the benchmarked models are scored"
    script:
        "../scripts/images/select_evaluated.py"
