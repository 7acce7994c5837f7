# What of the config each stage reads, as its one param: what it does not read, it must not take.
from imagenet_think.settings import as_json


def settings(**keys):
    """Return `as_json` as a function: Snakemake would look for wildcards in a text's braces."""
    text = as_json(**keys)
    return lambda wildcards: text


def chosen(section, *keys):
    """Return some keys of a section of the config."""
    return {key: section[key] for key in keys}


def without(section, *keys):
    """Return a section of the config but for some keys."""
    return {key: value for key, value in section.items() if key not in keys}


def named(models):
    """Return the printed names of some models."""
    return chosen(NAMES, *models)


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
        return as_json()  # refused by `sampled_images`
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
