# In: the class list and one tar a class (or a seed to draw them with).
# Out: images/classes.parquet, catalogue/, candidates/, sample.parquet, exclusions.parquet, shards/.
if IMAGES["source"]["kind"] == "drawings":

    rule draw_images:
        input:
            classes=IMAGES["classes"],
        output:
            expand("{path}/{wnid}.tar", path=IMAGES["source"]["path"], wnid=class_ids()),
        log:
            log("draw_images"),
        conda:
            "../envs/images.yaml"
        params:
            settings=settings(source=IMAGES["source"], seed=config["seed"]),
        message:
            "Drawing images of the classes"
        script:
            "../scripts/draw_images.py"


GROUPS = [str(group) for group in range(min(IMAGES["groups"], len(class_ids())))]


rule catalogue_images:
    input:
        classes=IMAGES["classes"],
        tars=class_tars,
    output:
        f"{R}/images/catalogue/{{group}}.parquet",
    log:
        log("catalogue_images/{group}"),
    conda:
        "../envs/images.yaml"
    resources:
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        settings=settings(source=IMAGES["source"]),
    message:
        "Listing the archives of class group {wildcards.group}"
    script:
        "../scripts/catalogue_images.py"


rule index_classes:
    input:
        classes=IMAGES["classes"],
        catalogues=expand(f"{R}/images/catalogue/{{group}}.parquet", group=GROUPS),
    output:
        f"{R}/images/classes.parquet",
    log:
        log("index_classes"),
    conda:
        "../envs/images.yaml"
    message:
        "Indexing the classes"
    script:
        "../scripts/index_classes.py"


rule collect_candidates:
    input:
        catalogue=f"{R}/images/catalogue/{{group}}.parquet",
    output:
        f"{R}/images/candidates/{{group}}.parquet",
    log:
        log("collect_candidates/{group}"),
    benchmark:
        f"{R}/benchmarks/collect_candidates/{{group}}.tsv"
    conda:
        "../envs/images.yaml"
    threads: 4
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        settings=settings(
            seed=config["seed"],
            source=IMAGES["source"],
            candidates_per_class=IMAGES["max_per_class"] + IMAGES["reserve"],
            criteria=IMAGES["criteria"],
            preparation=IMAGES["preparation"],
        ),
    message:
        "Reading, judging and preparing candidates of class group {wildcards.group}"
    script:
        "../scripts/collect_candidates.py"


CANDIDATES = expand(f"{R}/images/candidates/{{group}}.parquet", group=GROUPS)


rule sample_images:
    input:
        classes=f"{R}/images/classes.parquet",
        candidates=CANDIDATES,
    output:
        sample=f"{R}/images/sample.parquet",
        exclusions=f"{R}/images/exclusions.parquet",
    log:
        log("sample_images"),
    benchmark:
        f"{R}/benchmarks/sample_images.tsv"
    conda:
        "../envs/images.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
    params:
        settings=settings(
            seed=config["seed"],
            sharding=config["sharding"],
            near_duplicate_bits=IMAGES["criteria"]["near_duplicate_bits"],
            **{
                key: IMAGES[key]
                for key in (
                    "total",
                    "class_count",
                    "min_per_class",
                    "max_per_class",
                    "balance",
                    "complexity",
                )
            },
        ),
    message:
        "Sampling {IMAGES[total]} images of {IMAGES[class_count]} classes"
    script:
        "../scripts/sample_images.py"


rule gather_shard:
    input:
        sample=f"{R}/images/sample.parquet",
        candidates=CANDIDATES,
    output:
        f"{R}/images/shards/{{shard}}.parquet",
    log:
        log("gather_shard/{shard}"),
    conda:
        "../envs/images.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
    message:
        "Gathering the images of shard {wildcards.shard}"
    script:
        "../scripts/gather_shard.py"
