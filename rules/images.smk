# Out: images/sample.parquet, classes.parquet, exclusions.parquet, evaluated.parquet, and the images' shards/.

if SOURCE["kind"] == "listing":

    include: "listing.smk"

else:

    include: "sampling.smk"


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
        settings=settings(images=BENCHMARK["images"], seed=config["seed"]),
    message:
        "Selecting the images on which the benchmarked models are scored"
    script:
        "../scripts/select_evaluated.py"
