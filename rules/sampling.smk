# In: the class list, and the images in one of the layouts of images.source (or a seed to draw them with).
# Out: images/classes.parquet, catalogue/, candidates/, sample.parquet, exclusions.parquet.
GROUPS = [str(group) for group in range(min(IMAGES["groups"], len(class_ids())))]

if SOURCE["kind"] == "drawings":

    rule draw_images:
        input:
            classes=IMAGES["classes"],
        output:
            expand("{path}/{wnid}.tar", path=SOURCE["path"], wnid=class_ids()),
        log:
            log("draw_images"),
        conda:
            "../envs/images.yaml"
        params:
            settings=settings(source=without(SOURCE, "kind"), seed=config["seed"]),
        message:
            "Drawing images of the classes"
        script:
            "../scripts/draw_images.py"


if SOURCE["kind"] == "outer_archive":

    # The class archives are no outputs: Snakemake would delete them when the job is stopped. The list
    # of them is, so that the plan does not depend on what the outer archive holds.
    rule unpack_outer_archive:
        input:
            classes=IMAGES["classes"],
            archive=SOURCE["archive"],
        output:
            f"{R}/images/unpacked.parquet",
        log:
            log("unpack_outer_archive"),
        conda:
            "../envs/images.yaml"
        params:
            settings=settings(folder=SOURCE["path"]),
        message:
            "Unpacking class archives from {input.archive}"
        script:
            "../scripts/unpack_outer_archive.py"


if SOURCE["kind"] in sources.BY_CLASS:

    rule catalogue_images:
        input:
            classes=IMAGES["classes"],
            places=class_places,
            unpacked=(
                rules.unpack_outer_archive.output if SOURCE["kind"] == "outer_archive" else []
            ),
        output:
            f"{R}/images/catalogue/{{group}}.parquet",
        log:
            log("catalogue_images/{group}"),
        conda:
            "../envs/images.yaml"
        params:
            settings=to_catalogue,
        message:
            "Listing the images of class group {wildcards.group}"
        script:
            "../scripts/catalogue_images.py"

else:

    # Archives that hold many classes are listed once each, in groups of archives; the rows are
    # sorted by class afterwards.
    rule list_archives:
        input:
            classes=IMAGES["classes"],
            places=part_inputs,
            labels=optional(SOURCE.get("labels")),
        output:
            f"{R}/images/listing/{{part}}.parquet",
        log:
            log("list_archives/{part}"),
        conda:
            "../envs/images.yaml"
        params:
            settings=lambda wildcards: as_json(source=SOURCE, places=part_places(wildcards.part)),
        message:
            "Listing archives, part {wildcards.part}"
        script:
            "../scripts/list_archives.py"

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
            settings=lambda wildcards: as_json(classes=group_classes(wildcards.group)),
        message:
            "Gathering the images of class group {wildcards.group}"
        script:
            "../scripts/gather_catalogue.py"


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
        denied_classes=optional(IMAGES["criteria"]["denied_classes_file"]),
        denied_images=optional(IMAGES["criteria"]["denied_images_file"]),
        scorer=scorer_file(),
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
        settings=settings(
            seed=config["seed"],
            source=chosen(SOURCE, "kind", "path"),
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


rule report_sampling:
    input:
        sample=f"{R}/images/sample.parquet",
        exclusions=f"{R}/images/exclusions.parquet",
        classes=f"{R}/images/classes.parquet",
        candidates=CANDIDATES,
        catalogues=expand(f"{R}/images/catalogue/{{group}}.parquet", group=GROUPS),
        denied_classes=optional(IMAGES["criteria"]["denied_classes_file"]),
        denied_images=optional(IMAGES["criteria"]["denied_images_file"]),
        template="scripts/report_sampling.html",
    output:
        shown(f"{R}/images/report.html", "The run", "Sampling", caption="sampling"),
    log:
        log("report_sampling"),
    conda:
        "../envs/images.yaml"
    params:
        settings=settings(
            run=config["run"],
            seed=config["seed"],
            source=chosen(SOURCE, "kind", "path"),
            criteria=chosen(
                IMAGES["criteria"],
                *("max_pixels", "scorer"),
                *("denied_classes", "denied_classes_file"),
                *("denied_images", "denied_images_file"),
            ),
        ),
    message:
        "Reporting the sample and what was turned away"
    script:
        "../scripts/report_sampling.py"


rule sampling:
    input:
        rules.report_sampling.output,
    message:
        "The sampling report is {R}/images/report.html"
