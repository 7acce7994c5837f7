# In: the class list, and the images in one of the layouts of images.source (or a seed to draw them with).
# Out: images/sample.parquet, classes.parquet, exclusions.parquet, evaluated.parquet, and the images' shards/. Of a sampled
# source also catalogue/, candidates/ and report.html; of a list of images, listing.md and, with pictures, candidates/.


if LAYOUT.sampled:
    GROUPS = [str(group) for group in range(min(IMAGES["groups"], len(class_ids())))]
    UNPACKED = LAYOUT.made_by == "unpacking"

    if UNPACKED:

        # The class archives are not outputs, as Snakemake would delete them if the job is stopped. The
        # output is a list of them, so that the plan does not depend on what the outer archive holds.
        rule unpack_outer_archive:
            input:
                classes=files("images.classes"),
                archive=files("images.source.archive", by=outer_archive),
            output:
                f"{R}/images/unpacked.parquet",
            log:
                log("unpack_outer_archive"),
            conda:
                "../envs/images.yaml"
            params:
                settings=reads("images.source.path"),
            message:
                "Unpacking class archives from {input.archive}"
            script:
                "../scripts/images/unpack_outer_archive.py"

    if LAYOUT.by_class:

        rule catalogue_images:
            input:
                classes=files("images.classes"),
                places=files("images.source.path", by=place_inputs),
                unpacked=rules.unpack_outer_archive.output if UNPACKED else [],
            output:
                f"{R}/images/catalogue/{{group}}.parquet",
            log:
                log("catalogue_images/{group}"),
            conda:
                "../envs/images.yaml"
            params:
                settings=reads("images.source.kind", "images.source.path"),
                group=derived(
                    places=lambda wildcards: group_places(wildcards.group),
                    # Which of them have an archive is only known after unpacking.
                    classes=lambda wildcards: group_classes(wildcards.group) if UNPACKED else None,
                ),
            message:
                "Listing the images of class group {wildcards.group}"
            script:
                "../scripts/images/catalogue_images.py"

    else:

        # Archives of many classes are listed once each, in groups; the rows are sorted by class later.
        rule list_archives:
            input:
                classes=files("images.classes"),
                places=files("images.source.path", by=place_inputs),
                labels=files("images.source.labels"),
            output:
                f"{R}/images/listing/{{part}}.parquet",
            log:
                log("list_archives/{part}"),
            conda:
                "../envs/images.yaml"
            params:
                settings=reads(
                    "images.source.kind",
                    "images.source.path",
                    "images.source.labels",
                    "images.source.count_classes",
                ),
                places=derived(places=lambda wildcards: group_places(wildcards.part)),
            message:
                "Listing archives, part {wildcards.part}"
            script:
                "../scripts/images/list_archives.py"

        rule gather_catalogue:
            input:
                listings=listings,
            output:
                f"{R}/images/catalogue/{{group}}.parquet",
            log:
                log("gather_catalogue/{group}"),
            conda:
                "../envs/images.yaml"
            params:
                classes=derived(classes=lambda wildcards: group_classes(wildcards.group)),
            message:
                "Gathering the images of class group {wildcards.group}"
            script:
                "../scripts/images/gather_catalogue.py"

    rule index_classes:
        input:
            classes=files("images.classes"),
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
            "../scripts/images/index_classes.py"

    rule collect_candidates:
        input:
            catalogue=f"{R}/images/catalogue/{{group}}.parquet",
            criteria=files("images.criteria", by=criteria_files),
        output:
            workflow_hooks.deletable(f"{R}/images/candidates/{{group}}.parquet"),
        log:
            log("collect_candidates/{group}"),
        benchmark:
            f"{R}/benchmarks/collect_candidates/{{group}}.tsv"
        conda:
            "../envs/images.yaml"
        threads: 4
        params:
            settings=reads(
                "seed",
                "images.source.kind",
                "images.source.path",
                "images.max_per_class",
                "images.reserve",
                "images.criteria",
                "images.preparation",
            ),
        message:
            "Reading, checking and preparing the candidates of class group {wildcards.group}"
        script:
            "../scripts/images/collect_candidates.py"

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
        params:
            settings=reads(
                "seed",
                "sharding",
                "images.total",
                "images.class_count",
                "images.min_per_class",
                "images.max_per_class",
                "images.balance",
                "images.criteria.near_duplicate_bits",
                "images.complexity",
            ),
        message:
            "Sampling {IMAGES[total]} images of {IMAGES[class_count]} classes"
        script:
            "../scripts/images/sample_images.py"

    rule report_sampling:
        input:
            sample=f"{R}/images/sample.parquet",
            exclusions=f"{R}/images/exclusions.parquet",
            classes=f"{R}/images/classes.parquet",
            candidates=CANDIDATES,
            catalogues=expand(f"{R}/images/catalogue/{{group}}.parquet", group=GROUPS),
            criteria=files("images.criteria", by=criteria_files),
            template="scripts/report/report_sampling.html",
        output:
            shown(f"{R}/images/report.html", products.SAMPLING),
        log:
            log("report_sampling"),
        conda:
            "../envs/images.yaml"
        params:
            settings=reads(
                "run",
                "seed",
                "images.source.kind",
                "images.source.path",
                "images.criteria",
            ),
        message:
            "Reporting the sample and the rejected images"
        script:
            "../scripts/report/report_sampling.py"

else:
    LISTED = paths.table_files(SOURCE["path"])
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
                    "images.source.count_classes",
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
            files=(
                CANDIDATES
                if PICTURES
                else files("images.source.path", by=lambda wildcards: LISTED)
            ),
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
                *([] if PICTURES else ["images.source.label", "images.source.count_classes"]),
            ),
        message:
            "Listing the images that {SOURCE[path]} names"
        script:
            "../scripts/images/list_images.py"


rule sampling:
    input:
        rules.report_sampling.output if LAYOUT.sampled else rules.list_images.output,
    message:
        "How the images were chosen is described in {input}"


rule gather_shard:
    input:
        sample=f"{R}/images/sample.parquet",
        candidates=CANDIDATES if PICTURES else no_pictures,
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
