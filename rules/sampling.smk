# In: the class list, and the images in one of the layouts of images.source (or a seed to draw them with).
# Out: images/classes.parquet, catalogue/, candidates/, sample.parquet, exclusions.parquet.
GROUPS = [str(group) for group in range(min(IMAGES["groups"], len(class_ids())))]
UNPACKED = SOURCE["kind"] == "outer_archive"

if SOURCE["kind"] == "drawings":

    rule draw_images:
        input:
            classes=files("images.classes"),
        output:
            expand("{path}/{wnid}.tar", path=SOURCE["path"], wnid=class_ids()),
        log:
            log("draw_images"),
        conda:
            "../envs/images.yaml"
        params:
            settings=reads(
                "seed",
                "images.source.path",
                "images.source.classes",
                "images.source.drawings_per_class",
                "images.source.drawings_step",
            ),
        message:
            "Drawing images of the classes"
        script:
            "../scripts/miniature/draw_images.py"


if UNPACKED:

    # The class archives are no outputs: Snakemake would delete them when the job is stopped. The list
    # of them is, so that the plan does not depend on what the outer archive holds.
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


if SOURCE["kind"] in sources.BY_CLASS:

    rule catalogue_images:
        input:
            classes=files("images.classes"),
            places=files("images.source.path", by=class_places),
            unpacked=rules.unpack_outer_archive.output if UNPACKED else [],
        output:
            f"{R}/images/catalogue/{{group}}.parquet",
        log:
            log("catalogue_images/{group}"),
        conda:
            "../envs/images.yaml"
        params:
            settings=reads("images.source.kind", *(["images.source.path"] if UNPACKED else [])),
            # Which of them have an archive is known once they are unpacked.
            classes=derived(
                classes=lambda wildcards: group_classes(wildcards.group) if UNPACKED else None
            ),
        message:
            "Listing the images of class group {wildcards.group}"
        script:
            "../scripts/images/catalogue_images.py"

else:

    # Archives that hold many classes are listed once each, in groups of archives; the rows are
    # sorted by class afterwards.
    rule list_archives:
        input:
            classes=files("images.classes"),
            places=files("images.source.path", by=part_inputs),
            labels=files("images.source.labels"),
        output:
            f"{R}/images/listing/{{part}}.parquet",
        log:
            log("list_archives/{part}"),
        conda:
            "../envs/images.yaml"
        params:
            settings=reads("images.source.kind", "images.source.path", "images.source.labels"),
            places=derived(places=lambda wildcards: part_places(wildcards.part)),
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
        denied_classes=files("images.criteria.denied_classes_file"),
        denied_images=files("images.criteria.denied_images_file"),
        scorer=files("images.criteria.scorer", by=scorer_file),
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
        "Reading, judging and preparing candidates of class group {wildcards.group}"
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
        denied_classes=files("images.criteria.denied_classes_file"),
        denied_images=files("images.criteria.denied_images_file"),
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
            "images.criteria.max_pixels",
            "images.criteria.scorer",
            "images.criteria.denied_classes",
            "images.criteria.denied_classes_file",
            "images.criteria.denied_images",
            "images.criteria.denied_images_file",
        ),
    message:
        "Reporting the sample and the rejected images"
    script:
        "../scripts/report/report_sampling.py"


rule sampling:
    input:
        rules.report_sampling.output,
    message:
        "The sampling report is {R}/images/report.html"
