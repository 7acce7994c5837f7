# What `status` counts: the jobs of every stage, by the rules.
from itertools import product
from types import SimpleNamespace

from imagenet_think import fingerprint

STAGES = {
    "images": [
        "draw_images",
        "unpack_outer_archive",
        "catalogue_images",
        "gather_catalogue",
        "index_classes",
        "collect_candidates",
        "sample_images",
        "prepare_images",
        "list_images",
        *(["gather_shard"] if PICTURES else []),
        "select_evaluated",
    ],
    "responses": ["generate_responses", "import_responses"],
    "annotations": ["parse_responses"],
    "statistics": ["measure_texts", "count_dataset"],
    "scores": [
        *(f"score_{metric}" for metric in METRICS),
        "aggregate_scores",
        "compare_models",
        "aggregate_groups",
        "fit_document_frequencies",
        "aggregate_agreement",
    ],
    "tables": [each.name for each in workflow.rules if each.name.startswith("table_")],
    "figures": [f"figure_{name}" for name in MADE],
    "pages": [
        "compare_with_paper",
        "audit",
        "account_responses",
        "cost",
        "report_sampling",
        *(["review"] if PICTURES else []),
        "render_pages",
    ],
    "dataset": ["build_dataset", "write_card", "write_croissant", "record_run"],
}
WILDCARDS = dict(
    model=MODELS,
    block=shards.blocks(**config["sharding"]),
    shard=SHARDS,
    metric=METRICS,
    group=GROUPS,
    dataset=list(DATASETS),
    n="3456",
)


def jobs_of(name):
    """Yield model or metric, where there is one, and the outputs of each job of a rule, if there is one."""
    if not workflow.is_rule(name):
        return
    made = workflow.get_rule(name)
    names = sorted(made.wildcard_names)
    for values in product(*(WILDCARDS[wildcard] for wildcard in names)):
        found = dict(zip(names, values))
        outputs = [str(output.apply_wildcards(found)) for output in made.output]
        if made.output[0].match(outputs[0]):  # else the rule is for other models
            own = name.removeprefix("score_") if name.startswith("score_") else ""
            yield found.get("model", found.get("metric", own)), outputs


def stage_jobs(wildcards):
    """Return the outputs of every job by stage, and in it by model or metric."""
    stages = {}
    for stage, names in STAGES.items():
        stages[stage] = {}
        for name in names:
            for part, outputs in jobs_of(name):
                stages[stage].setdefault(part, []).append(outputs)
    return stages


def leave_the_lock_alone(wildcards):
    """Return no input. A Snakemake that ends lets go of the folder's lock, even of another one's: not this one."""
    if set(workflow.dag_settings.targets) == {"status"}:
        workflow.persistence.lock = workflow.persistence.noop
        workflow.persistence.unlock = workflow.persistence.noop
    return []


def asked(wildcards):
    """Return for each model that is asked its settings, its journals' folder and the images that it is asked about."""
    own = {model: SimpleNamespace(model=model) for model in GENERATED}
    return {
        model: dict(
            settings=json.dumps(
                fingerprint.asked_with(
                    json.loads(rules.generate_responses.params.settings(known)), model
                )
            ),
            journal=rules.generate_responses.params.journal.format(model=model),
            evaluated=next(iter(evaluated_file(known)), None),
        )
        for model, known in own.items()
    }
