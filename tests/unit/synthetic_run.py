"""A small finished run for the tests of the paper.

The pipeline's own functions make its tables from random rows, with the miniature's config.
"""

import random
from itertools import combinations, cycle, product
from pathlib import Path

import polars as pl
from configs import config

from audit import audit
from compare_with_paper import compare_with_paper
from fit_document_frequencies import fit_document_frequencies
from imagenet_think.core import schemas
from imagenet_think.core.files import write_parquet
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS
from table_ablation import table_ablation
from table_agreement import table_agreement
from table_benchmark import table_benchmark
from table_datasets import table_datasets
from table_groups import table_groups
from table_images import table_images
from table_language import table_language
from table_mentions import table_mentions
from table_parts import table_parts
from table_ranks import table_ranks

ROOT = Path(__file__).parents[2]
REPORTED = ROOT / "resources" / "reported.yaml"
CONFIG = config(name="miniature")
CLASS_LIST = ROOT / "resources" / "imagenet21k_p_winter21.tsv"
MEASURES = registry.measures()
COVERED = {own.name for metric in registry.metrics() if metric.coverage for own in metric.measures}
CLASSES = {"balloon": "artifact", "apple": "food", "fish": "animal", "star": "object"}
GROUPS = [{"grouping": "domain", "group": domain} for domain in CLASSES.values()]
GROUPS += [{"grouping": "stratum", "group": stratum} for stratum in "12"]
GROUPS += [{"grouping": "length", "group": f"{n} ({n}00 tokens)"} for n in range(1, 5)]
IMAGES = 40
STATUSES = ("ok",) * 17 + ("cut_off", "no_think", "loop")
WORDS = (
    "a round balloon hangs over green hills so the light comes from the left and its basket "
    "below **Details** colour $5 suggests that I conclude"
)


Rows = list[dict[str, object]]


def make_run(folder: Path) -> dict[str, object]:
    """Make a run's files in `folder`; return the arguments of export_numbers except the output."""
    draw = random.Random(5)
    sample = _sample()
    reasons = ["too_small"] * 5 + ["near_duplicate"] * 3 + ["undecodable"]
    files: dict[str, tuple[Rows, pl.Schema]] = {
        "sample": (sample, schemas.SAMPLE),
        "exclusions": ([{"reason": reason} for reason in reasons], schemas.EXCLUSIONS),
        "aggregate": (_aggregates({}, draw), schemas.AGGREGATES),
        "groups": ([row for each in GROUPS for row in _aggregates(each, draw)], schemas.GROUPS),
        "differences": (_differences(draw), schemas.DIFFERENCES),
        "agreement": (_agreement(draw), schemas.AGREEMENT_AGGREGATES),
        "mentions": (_mentions(sample, draw), schemas.MENTIONS),
    }
    for key in CONFIG["models"]:
        rows = _annotations(sample, key, draw)
        files[f"annotations/{key}"] = (rows, schemas.ANNOTATIONS)
        files[f"lengths/{key}"] = (_lengths(rows), schemas.LENGTHS)
    for name, (rows, schema) in files.items():
        known = [{column: row.get(column) for column in schema} for row in rows]
        write_parquet(pl.DataFrame(known, schema=schema), folder / f"{name}.parquet", schema)
    _tables(folder)
    return {
        "tables": sorted((folder / "tables").glob("*.csv")),
        "sample": folder / "sample.parquet",
        "exclusions": folder / "exclusions.parquet",
        "annotations": [folder / "annotations" / f"{key}.parquet" for key in CONFIG["models"]],
        "comparison": folder / "comparison.csv",
        "audit": folder / "audit.csv",
        "reported": REPORTED,
        "settings": CONFIG,
    }


def _sample() -> Rows:
    rows: Rows = []
    for place, (lemma, domain) in zip(range(IMAGES), cycle(CLASSES.items()), strict=False):
        row = {"image_id": f"{lemma}_{place}", "wnid": f"n_{lemma}", "lemma": lemma}
        rows.append(row | {"domain": domain, "shard": "00"})
    return rows


def _annotations(sample: Rows, model: str, draw: random.Random) -> Rows:
    rows: Rows = []
    for image in sample:
        think, answer = (" ".join(draw.choices(WORDS.split(), k=60)) for _ in range(2))
        status = draw.choice(STATUSES)
        parts = {"think": think, "answer": answer} if status == "ok" else {}
        row = {"image_id": image["image_id"], "model": model, "full": f"{think}\n{answer}"}
        known = dict.fromkeys(("status", "think_status", "answer_status"), status)
        rows.append(row | parts | known)
    return rows


def _lengths(annotations: Rows) -> Rows:
    rows: Rows = []
    for row, part in product(annotations, PARTS):
        words = len(str(row[part]).split()) if part in row else None
        counts = {"tokens": words, "words": words, "non_latin": words and False}
        counts["english"] = words and True
        rows.append({"image_id": row["image_id"], "model": row["model"], "part": part} | counts)
    return rows


def _value(metric: str, value: float) -> dict[str, object]:
    """Return the columns of an aggregated number."""
    seen = 0.8 if metric in COVERED else None
    number = {"metric": metric, "value": value, "low": value - 0.01, "high": value + 0.01}
    return number | {"images": IMAGES - 2, "left_out": 2, "seen": seen}


def _aggregates(group: dict[str, str], draw: random.Random) -> Rows:
    rows: Rows = []
    for model, part, metric in product(CONFIG["benchmarked"], PARTS, MEASURES):
        value = draw.uniform(0.2, 0.9)
        for aggregate, number in (("avg", value), ("max", value + 0.02)):
            row = group | {"model": model, "part": part, "aggregate": aggregate}
            row |= {"no_response": 1} | _value(metric, number)
            cut = row["seen"] and 0.2
            shares = {"seen_references": row["seen"], "cut": cut, "cut_references": cut}
            rows.append(row | shares)
    return rows


def _differences(draw: random.Random) -> Rows:
    rows: Rows = []
    pairs = combinations(CONFIG["benchmarked"], 2)
    for metric, aggregate, (model, other) in product(MEASURES, ("avg", "max"), pairs):
        value = draw.uniform(-0.1, 0.1)
        row = {"metric": metric, "aggregate": aggregate, "model": model, "other": other}
        row |= {"difference": value, "low": value - 0.02, "high": value + 0.02}
        rows.append(row | {"all_low": value - 0.03, "all_high": value + 0.03, "images": IMAGES})
    return rows


def _agreement(draw: random.Random) -> Rows:
    numbers = [(CONFIG["teachers"][0], "teacher_2", None)]
    for teacher in CONFIG["teachers"]:
        numbers += [(teacher, against, None) for against in schemas.AGAINST[1:]]
        numbers.append((teacher, "teacher_2", "same_class"))
    rows: Rows = []
    keys = product(("all", *CLASSES.values()), MEASURES, PARTS, numbers)
    for group, metric, part, (model, against, minus) in keys:
        row = {"grouping": "all" if group == "all" else "domain", "group": group, "part": part}
        row |= {"model": model, "against": against, "minus": minus, "unpaired": 0}
        rows.append(row | _value(metric, draw.uniform(0.2, 0.9) - (0.5 if minus else 0)))
    return rows


def _mentions(sample: Rows, draw: random.Random) -> Rows:
    levels = ("synset", "hyponym", "hypernym", "other")
    return [
        {"image_id": image["image_id"], "model": model}
        | {level: draw.random() < 0.5 for level in levels}
        for model, image in product(CONFIG["models"], sample)
    ]


def _tables(folder: Path) -> None:
    tables, sample = folder / "tables", folder / "sample.parquet"
    aggregate, groups = folder / "aggregate.parquet", folder / "groups.parquet"
    annotations, lengths = (
        [folder / kind / f"{key}.parquet" for key in CONFIG["teachers"]]
        for kind in ("annotations", "lengths")
    )
    statistics = [folder / "document_frequencies.parquet"]
    fit_document_frequencies(annotations, *statistics, **CONFIG["benchmark"]["vectors"])
    table_datasets(sample, lengths, [], REPORTED, tables / "table1", CONFIG)
    table_images(sample, tables / "table2")
    table_language(sample, annotations, lengths, tables / "language", CONFIG)
    for name in registry.tables():
        table_benchmark(aggregate, statistics, tables / name, CONFIG)
    table_ablation(aggregate, statistics, tables / "table7", CONFIG)
    differences = folder / "differences.parquet"
    table_ranks(differences, aggregate, statistics, tables / "ranks", CONFIG)
    table_groups(groups, aggregate, statistics, tables / "groups", CONFIG)
    table_parts(aggregate, groups, statistics, tables / "parts", CONFIG)
    stems = tables / "agreement", tables / "agreement_domains"
    table_agreement(folder / "agreement.parquet", statistics, *stems, CONFIG)
    table_mentions([folder / "mentions.parquet"], sample, tables / "mentions", CONFIG)
    compare_with_paper(sorted(tables.glob("*.csv")), REPORTED, folder / "comparison", CONFIG)
    audit(ROOT / "resources" / "audit.yaml", REPORTED, [CLASS_LIST], folder / "audit")
