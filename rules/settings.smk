# What of the config each stage reads, as its one param: what it does not read, it must not take.
from functools import cache

from imagenet_think.settings import as_json


def settings(**keys):
    """Return `as_json` as a function: Snakemake would look for wildcards in a text's braces."""
    text = as_json(**keys)
    return lambda wildcards: text


def code(rule):
    """Return a param: the digest of a rule's script and of the modules that a job of it uses."""
    script = Path(workflow.basedir) / "rules" / rule.script
    given = rule.params.get("settings")

    def used(wildcards):
        text = given(wildcards) if callable(given) else given
        return provenance.digest(script, provenance.plugins(json.loads(text or "null")))

    return used


def run_code():
    """Return the digest of all code that this config's run uses."""
    chosen_plugins = provenance.plugins(config)
    scripts = {each.script for each in workflow.rules if each.script}
    return as_json(
        code={
            script: provenance.digest(Path(workflow.basedir) / "rules" / script, chosen_plugins)
            for script in scripts
        }
    )


def chosen(section, *keys):
    """Return some keys of a section of the config."""
    return {key: section[key] for key in keys}


def without(section, *keys):
    """Return a section of the config but for some keys."""
    return {key: value for key, value in section.items() if key not in keys}


def named(models):
    """Return the printed names of some models."""
    return chosen(NAMES, *models)


def to_catalogue(wildcards):
    """Return the layout; where and of which classes the archives are, if that is known once they are unpacked."""
    if SOURCE["kind"] != "outer_archive":
        return as_json(source=chosen(SOURCE, "kind"))
    return as_json(source=chosen(SOURCE, "kind", "path"), classes=group_classes(wildcards.group))


def built_as(model):
    """Return what decides how a model is built, and how many tokens an image has."""
    read = ("repository", "revision", "family", "image", "system", "template")
    scaled = {key: chosen(model[key], "first_scale") for key in ["second_round"] if key in model}
    return {**chosen(model, *read), **scaled}


def metric_settings(metric):
    """Return what a metric reads of the config, without what changes no score."""
    encoder = repositories.installed(BENCHMARK[metric].get("repository", ""))
    return settings(
        pairs={**PAIRS, "seed": config["seed"]}, metric=scored_as(metric), installed=encoder
    )


def scored_as(metric):
    """Return a metric's section of the config, without what changes no score."""
    return without(BENCHMARK[metric], "batch_size")


def defined(metrics=METRICS):
    """Return what a caption says of how metrics are computed."""
    variant = chosen(BENCHMARK, "printed_tfidf") if "vectors" in metrics else {}
    return {**variant, **{metric: without(scored_as(metric), "revision") for metric in metrics}}


def scores_of(models):
    """Return what a table of the benchmark says of models and teachers, intervals and what is missing."""
    return dict(
        names=named(TEACHERS + models),
        teachers=TEACHERS,
        **chosen(BENCHMARK, "intervals", "missing"),
    )


def printed_settings(wildcards):
    """Return what of the config stands in the paper's text, which tells how images were sampled."""
    if SOURCE["kind"] == configuration.LISTING:
        raise WorkflowError(
            "No paper of a run with images.source of kind listing: its text tells how images were sampled, and these were "
            "listed. `tables`, `figures` and `comparison` need no sampling."
        )
    encoder = ("repository", "max_tokens")
    return as_json(
        **chosen(config, "run", "seed", "prompt", "teachers", "benchmarked"),
        prompts=chosen(config["prompts"], config["prompt"]),
        images={
            **chosen(IMAGES, "balance", "preparation"),
            "source": chosen(SOURCE, "kind"),
            "criteria": chosen(
                IMAGES["criteria"],
                *("min_side", "max_pixels", "min_contrast", "min_sharpness", "max_noise"),
                "near_duplicate_bits",
            ),
            "complexity": chosen(IMAGES["complexity"], "strata"),
        },
        models={key: printed_model(config["models"][key]) for key in MODELS},
        dataset=chosen(config["dataset"], "test", "validation"),
        statistics={"tokenizer": chosen(TOKENIZER, "repository")},
        benchmark={
            **chosen(BENCHMARK, "ablation_model", "intervals"),
            "bertscore": chosen(BENCHMARK["bertscore"], *encoder),
            "sbert": chosen(BENCHMARK["sbert"], *encoder),
        },
    )


def printed_model(model):
    """Return what of a model stands in the paper's text: its name, and how it was asked or where it lies."""
    if "responses" in model:
        return {**chosen(model, "name"), "responses": chosen(model["responses"], "path")}
    return {
        **chosen(model, "name", "repository"),
        "decoding": chosen(model["decoding"], "max_new_tokens", "temperature"),
    }


def said_of_dataset(full, *keys):
    """Return what of the config both the dataset's card and its Croissant description say; `keys` are of its section."""
    return dict(
        full=full,
        run=config["run"],
        source=SOURCE["kind"],
        dataset=chosen(PUBLISHED, "repository", "license", *keys),
        compared=dict(teachers=TEACHERS, **asked_as(TEACHERS)),
    )


def said_in_card(full):
    """Return what of the config the dataset's card says."""
    criteria = ("min_side", "near_duplicate_bits")
    sampled = SOURCE["kind"] != configuration.LISTING
    return settings(
        **said_of_dataset(full, "test", "validation"),
        criteria=chosen(IMAGES["criteria"], *criteria) if sampled else None,
        preparation=IMAGES["preparation"] if PICTURES else None,
        teachers=[said_of_teacher(config["models"][key]) for key in TEACHERS],
    )


def said_in_croissant(full):
    """Return what of the config the dataset's Croissant description says."""
    return settings(**said_of_dataset(full, "version", "published"))


def said_of_teacher(model):
    """Return what the card says of a teacher beside what its rows record; of an imported one, its name."""
    if "responses" in model:
        return {**chosen(model, "name"), "responses": True}
    return chosen(model, "name", "repository", "system", "template", "prefix")


def asked_as(models):
    """Return what tells whether images, prompt and some models are the paper's."""
    return dict(
        source=SOURCE["kind"],
        prompt=config["prompts"][config["prompt"]],
        names=named(models),
        repositories={
            key: None if key in IMPORTED else config["models"][key]["repository"] for key in models
        },
    )
