# In: images/, responses/, annotations/. Out: review/index.html; from exported decisions tables/review and figures/figure_review.


rule review:
    input:
        sample=f"{R}/images/sample.parquet",
        images=expand(f"{R}/images/shards/{{shard}}.parquet", shard=SHARDS),
        annotations=by_shard(f"{R}/annotations/{{model}}/{{shard}}.parquet"),
        responses=by_shard(f"{R}/responses/{{model}}/{{shard}}.parquet"),
        template="scripts/review/review.html",
        style="scripts/review/review.css",
        script="scripts/review/review.js",
    output:
        page=f"{R}/review/index.html",
        reviewed=f"{R}/review/sample.parquet",
    log:
        log("review"),
    benchmark:
        f"{R}/benchmarks/review.tsv"
    conda:
        "../envs/images.yaml"
    params:
        settings=reads(
            "run",
            "seed",
            "teachers",
            "prompt",
            "prompts.{prompt}",
            "models.{teachers}.repository",
            "models.{teachers}.name",
            "review.images",
            "review.longest_side",
        ),
        statuses=derived(statuses=STATUSES),
    message:
        "Making the page for human review: {output.page}"
    script:
        "../scripts/review/review.py"


FOUND_BY["review.decisions"] = decisions
create_rules("review")


rule review_results:
    input:
        [
            f"{R}/{file}"
            for each in [*products.tables("review"), *products.figures("review")]
            for file in each.files
        ],
    message:
        "The reviewers' decisions are in {R}/tables/review.md"
