"""Score the texts of a block in one metric."""

import json
from pathlib import Path

from imagenet_think.core.job import start_job
from imagenet_think.metrics import registry
from imagenet_think.metrics.pairs import Shard
from imagenet_think.metrics.scoring import score_shards

if __name__ == "__main__":
    snakemake = start_job()
    settings = json.loads(snakemake.params.settings)
    metric = registry.get(snakemake.wildcards.metric)
    # Annotations come shard by shard: those of all models, teachers first.
    models = len(snakemake.input.annotations) // len(snakemake.output.scores)
    shards = [
        Shard(
            annotations=snakemake.input.annotations[place * models :][:models],
            sample=snakemake.input.sample,
            evaluated=snakemake.input.evaluated,
            scores=scores,
            agreement=agreement,
            name=Path(scores).stem,
            models=settings["benchmarked"],
            teachers=settings["teachers"],
            seed=settings["seed"],
        )
        for place, (scores, agreement) in enumerate(
            zip(snakemake.output.scores, snakemake.output.agreement, strict=True)
        )
    ]
    score_shards(
        metric,
        shards,
        settings=settings["benchmark"][metric.name],
        tuning=json.loads(snakemake.params.inference)["benchmark"][metric.name],
        statistics={name: snakemake.input[name] for name in metric.statistics},
        cache_folder=snakemake.params.cache,
        code=json.loads(snakemake.params.metric_code)["metric_code"],
    )
