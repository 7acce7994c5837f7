# In: the dataset, tables 1, 2 and language, what the paper reports; the config. Out: README.md and croissant.json of
# dataset/ and dataset_full/; config.yaml and versions.json, on which nothing depends.
localrules:
    push_dataset,


rule write_card:
    input:
        files=dataset_files("dataset"),
        tables=expand(f"{R}/tables/{{name}}.csv", name=["table1", "table2"]),
        language=f"{R}/tables/language.md",
        reported="resources/reported.yaml",
        template="scripts/write_card.md",
    output:
        f"{R}/dataset/README.md",
    log:
        log("write_card"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "run",
            "teachers",
            "prompt",
            "prompts.{prompt}",
            "images.source.kind",
            *(["images.criteria.min_side"] if SAMPLED else []),
            *(["images.criteria.near_duplicate_bits"] if SAMPLED else []),
            *(["images.preparation"] if PICTURES else []),
            "models.{teachers}.name",
            "models.{teachers}.repository",
            "models.{teachers}.system",
            "models.{teachers}.template",
            "models.{teachers}.prefix",
            "dataset.repository",
            "dataset.license",
            "dataset.test",
            "dataset.validation",
        ),
        full=derived(full=False),
    message:
        "Writing the dataset's card"
    script:
        "../scripts/write_card.py"


use rule write_card as write_card_full with:
    input:
        files=dataset_files("dataset_full"),
        tables=expand(f"{R}/tables/{{name}}.csv", name=["table1", "table2"]),
        language=f"{R}/tables/language.md",
        reported="resources/reported.yaml",
        template="scripts/write_card.md",
    output:
        f"{R}/dataset_full/README.md",
    log:
        log("write_card_full"),
    params:
        settings=rules.write_card.params.settings,
        full=derived(full=True),
    message:
        "Writing the card of the dataset with images"


rule write_croissant:
    input:
        files=dataset_files("dataset"),
        images=f"{R}/tables/table2.csv",
        reported="resources/reported.yaml",
    output:
        f"{R}/dataset/croissant.json",
    log:
        log("write_croissant"),
    conda:
        "../envs/texts.yaml"
    params:
        settings=reads(
            "run",
            "teachers",
            "prompt",
            "prompts.{prompt}",
            "images.source.kind",
            "models.{teachers}.name",
            "models.{teachers}.repository",
            "dataset.repository",
            "dataset.license",
            "dataset.version",
            "dataset.published",
        ),
        full=derived(full=False),
    message:
        "Describing the dataset in Croissant"
    script:
        "../scripts/write_croissant.py"


use rule write_croissant as write_croissant_full with:
    input:
        files=dataset_files("dataset_full"),
        images=f"{R}/tables/table2.csv",
        reported="resources/reported.yaml",
    output:
        f"{R}/dataset_full/croissant.json",
    log:
        log("write_croissant_full"),
    params:
        settings=rules.write_croissant.params.settings,
        full=derived(full=True),
    message:
        "Describing the dataset with images in Croissant"


rule record_run:
    output:
        config=f"{R}/config.yaml",
        versions=f"{R}/versions.json",
    log:
        log("record_run"),
    conda:
        "../envs/texts.yaml"
    params:
        config=derived(**config),
        # The commit is asked for again where the code has changed.
        run_code=derived(code=run_code),
    message:
        "Recording config, packages and commit"
    script:
        "../scripts/record_run.py"


rule push_dataset:
    input:
        files=dataset_files("dataset"),
        card=f"{R}/dataset/README.md",
        croissant=f"{R}/dataset/croissant.json",
    log:
        log("push_dataset"),
    conda:
        "../envs/inference.yaml"
    params:
        settings=reads("dataset.repository", "dataset.private"),
        confirmed=lambda wildcards: os.environ.get("IMAGENET_THINK_PUSH"),
    message:
        "What would go to the hub; it goes where IMAGENET_THINK_PUSH names the repository"
    script:
        "../scripts/push_dataset.py"
