"""A finished run in small, for the tests of the paper.

Its tables, and figures where they are wanted, are made by the pipeline's own functions from random
frames, under the miniature's config.
"""

import io
import random
from itertools import combinations, product
from pathlib import Path

import polars as pl
import yaml
from PIL import Image, ImageDraw

import figure_agreement
import figure_coverage
import figure_lengths
import figure_organisation
import figure_sample
import figure_scores
from audit import audit
from compare_with_paper import compare_with_paper
from imagenet_think.core import schemas
from imagenet_think.core.files import write_parquet
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS
from imagenet_think.report.examples import Example, choose_examples
from imagenet_think.report.figures import save_figure
from imagenet_think.run.configuration import check
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
CONFIG = check(yaml.safe_load((ROOT / "config" / "miniature.yaml").read_text(encoding="utf-8")))
CLASS_LIST = ROOT / "resources" / "imagenet21k_p_winter21.tsv"
MEASURES = registry.measures()
NAMES = {key: model["name"] for key, model in CONFIG["models"].items()}
CLASSES = {"balloon": "artifact", "apple": "food", "fish": "animal", "star": "object"}
STATUSES = ("ok",) * 17 + ("cut_off", "no_think", "loop")
WORDS = (
    "a round balloon hangs over green hills so the light comes from the left and its basket "
    "below **Details** colour $5 suggests that I conclude"
)


def make_run(folder: Path, images: int = 40, words: int = 60) -> dict[str, object]:
    """Make a run's files in `folder`; return the arguments of export_numbers but the output."""
    draw = random.Random(5)
    sample = _sample(images)
    ids = sample["image_id"].to_list()
    write_parquet(sample, folder / "sample.parquet", schemas.SAMPLE)
    write_parquet(_exclusions(), folder / "exclusions.parquet", schemas.EXCLUSIONS)
    write_parquet(_classes(), folder / "classes.parquet", schemas.CLASSES)
    write_parquet(_images(ids), folder / "images.parquet", schemas.IMAGES)
    annotations = {key: folder / "annotations" / f"{key}.parquet" for key in NAMES}
    lengths = {key: folder / "lengths" / f"{key}.parquet" for key in CONFIG["teachers"]}
    for key, path in annotations.items():
        rows = _annotations(ids, key, words, draw)
        write_parquet(rows, path, schemas.ANNOTATIONS)
        if key in lengths:
            write_parquet(_lengths(rows), lengths[key], schemas.LENGTHS)
    write_parquet(_aggregates(images, draw), folder / "aggregate.parquet", schemas.AGGREGATES)
    write_parquet(_differences(images, draw), folder / "differences.parquet", schemas.DIFFERENCES)
    write_parquet(
        _agreement(images, draw), folder / "agreement.parquet", schemas.AGREEMENT_AGGREGATES
    )
    write_parquet(_groups(images, draw), folder / "groups.parquet", schemas.GROUPS)
    write_parquet(_mentions(ids, draw), folder / "mentions.parquet", schemas.MENTIONS)
    teachers = [annotations[key] for key in CONFIG["teachers"]]
    _tables(folder, teachers, list(lengths.values()))
    return {
        "tables": sorted((folder / "tables").glob("*.csv")),
        "sample": folder / "sample.parquet",
        "exclusions": folder / "exclusions.parquet",
        "annotations": list(annotations.values()),
        "comparison": folder / "comparison.csv",
        "audit": folder / "audit.csv",
        "reported": REPORTED,
        "settings": CONFIG,
    }


def _sample(images: int) -> pl.DataFrame:
    rows = []
    for place in range(images):
        lemma = list(CLASSES)[place % len(CLASSES)]
        row = {"image_id": f"{lemma}_{place}", "wnid": f"n_{lemma}", "lemma": lemma}
        rows.append(row | {"domain": CLASSES[lemma], "shard": "00"})
    return pl.DataFrame(rows, schema=schemas.SAMPLE)


def _exclusions() -> pl.DataFrame:
    reasons = ["too_small"] * 5 + ["near_duplicate"] * 3 + ["undecodable"]
    return pl.DataFrame([{"reason": reason} for reason in reasons], schema=schemas.EXCLUSIONS)


def _classes() -> pl.DataFrame:
    rows = [
        {"wnid": f"n_{lemma}", "lemmas": lemma, "domain": domain, "available": 26}
        for lemma, domain in CLASSES.items()
    ]
    return pl.DataFrame(rows, schema=schemas.CLASSES)


def _images(ids: list[str]) -> pl.DataFrame:
    image = Image.new("RGB", (320, 240), "#9ecae1")
    ImageDraw.Draw(image).ellipse((80, 30, 240, 210), "#d7301f")
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    rows = [{"image_id": i, "image": {"bytes": buffer.getvalue(), "path": i}} for i in ids]
    return pl.DataFrame(rows, schema=schemas.IMAGES)


def _annotations(ids: list[str], model: str, words: int, draw: random.Random) -> pl.DataFrame:
    rows = []
    for image_id in ids:
        think, answer = (" ".join(draw.choices(WORDS.split(), k=words)) for _ in range(2))
        status = draw.choice(STATUSES)
        parts = {"think": think, "answer": answer} if status == "ok" else {}
        row = {"image_id": image_id, "model": model, "full": f"{think}\n{answer}"}
        rows.append(row | parts | {"status": status})
    return pl.DataFrame(rows, schema=schemas.ANNOTATIONS)


def _lengths(annotations: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for row in annotations.iter_rows(named=True):
        for part in PARTS:
            words = None if row[part] is None else len(row[part].split())
            counts = {"tokens": words, "words": words, "non_latin": words and False}
            rows.append({"image_id": row["image_id"], "model": row["model"], "part": part} | counts)
    return pl.DataFrame(rows, schema=schemas.LENGTHS)


def _aggregates(images: int, draw: random.Random) -> pl.DataFrame:
    rows = []
    for model in CONFIG["benchmarked"]:
        for part in PARTS:
            for metric in MEASURES:
                value = draw.uniform(0.2, 0.9)
                seen = 0.8 if registry.metric_of(metric).coverage else None
                for aggregate, number in (("avg", value), ("max", value + 0.02)):
                    row = {"model": model, "part": part, "metric": metric, "aggregate": aggregate}
                    row |= {"value": number, "low": number - 0.01, "high": number + 0.01}
                    row |= {"images": images - 2, "left_out": 2, "no_response": 1}
                    shares = {"seen": seen, "seen_references": seen, "cut": seen and 1 - seen}
                    shares |= {"cut_references": shares["cut"]}
                    rows.append(row | shares)
    return pl.DataFrame(rows, schema=schemas.AGGREGATES)


def _differences(images: int, draw: random.Random) -> pl.DataFrame:
    rows = []
    for metric, aggregate in product(MEASURES, ("avg", "max")):
        for model, other in combinations(CONFIG["benchmarked"], 2):
            value = draw.uniform(-0.1, 0.1)
            row = {"metric": metric, "aggregate": aggregate, "model": model, "other": other}
            row |= {"difference": value, "low": value - 0.02, "high": value + 0.02}
            rows.append(row | {"all_low": value - 0.03, "all_high": value + 0.03, "images": images})
    return pl.DataFrame(rows, schema=schemas.DIFFERENCES)


def _agreement(images: int, draw: random.Random) -> pl.DataFrame:
    first, second = CONFIG["teachers"]
    numbers = [(first, "teacher_2", None)]
    for teacher in (first, second):
        numbers += [(teacher, against, None) for against in schemas.AGAINST[1:]]
        numbers.append((teacher, "teacher_2", "same_class"))
    rows = []
    for group, metric, part in product(("all", *CLASSES.values()), MEASURES, PARTS):
        for model, against, minus in numbers:
            value = draw.uniform(0.2, 0.9) - (0.5 if minus else 0)
            seen = 0.8 if registry.metric_of(metric).coverage else None
            row = {"grouping": "all" if group == "all" else "domain", "group": group}
            row |= {"metric": metric, "part": part, "model": model}
            row |= {"against": against, "minus": minus}
            row |= {"value": value, "low": value - 0.01, "high": value + 0.01}
            rows.append(row | {"images": images - 2, "left_out": 2, "unpaired": 0, "seen": seen})
    return pl.DataFrame(rows, schema=schemas.AGREEMENT_AGGREGATES)


def _groups(images: int, draw: random.Random) -> pl.DataFrame:
    groups = [("domain", domain) for domain in CLASSES.values()]
    groups += [("stratum", "1"), ("stratum", "2")]
    groups += [("length", f"{place} ({place}00 tokens)") for place in range(1, 5)]
    frames = [
        _aggregates(images, draw).select(
            pl.lit(grouping).alias("grouping"), pl.lit(group).alias("group"), pl.all()
        )
        for grouping, group in groups
    ]
    return pl.concat(frames)


def _mentions(ids: list[str], draw: random.Random) -> pl.DataFrame:
    levels = ("synset", "hyponym", "hypernym", "other")
    rows = [
        {"image_id": image, "model": model} | {name: draw.random() < 0.5 for name in levels}
        for model in NAMES
        for image in ids
    ]
    return pl.DataFrame(rows, schema=schemas.MENTIONS)


def _tables(folder: Path, annotations: list[Path], lengths: list[Path]) -> None:
    tables, sample = folder / "tables", folder / "sample.parquet"
    tokenizer = CONFIG["statistics"]["tokenizer"]["repository"]
    teachers = CONFIG["teachers"]
    table_datasets(
        sample,
        lengths,
        [],
        REPORTED,
        tables / "table1",
        teachers=teachers,
        run=CONFIG["run"],
        tokenizer=tokenizer,
    )
    table_images(sample, tables / "table2")
    table_language(
        sample,
        annotations,
        lengths,
        tables / "language",
        names={key: NAMES[key] for key in teachers},
        tokenizer=tokenizer,
        seed=CONFIG["seed"],
    )
    settings = CONFIG["benchmark"] | {"models": CONFIG["benchmarked"], "names": NAMES}
    rules = {key: model["output"] for key, model in CONFIG["models"].items()}
    settings |= {"teachers": teachers, "rules_of_parsing": rules}
    for name in registry.tables():
        table_benchmark(folder / "aggregate.parquet", tables / name, name, settings)
    table_ablation(folder / "aggregate.parquet", tables / "table7", settings)
    aggregate = folder / "aggregate.parquet"
    table_ranks(folder / "differences.parquet", aggregate, tables / "ranks", settings)
    table_groups(folder / "groups.parquet", aggregate, tables / "groups", settings)
    table_parts(aggregate, folder / "groups.parquet", tables / "parts", settings)
    table_agreement(
        folder / "agreement.parquet", tables / "agreement", tables / "agreement_domains", settings
    )
    table_mentions(
        [folder / "mentions.parquet"],
        sample,
        tables / "mentions",
        names=NAMES,
        level=0.95,
    )
    compare_with_paper(
        sorted(tables.glob("*.csv")),
        REPORTED,
        folder / "comparison",
        CONFIG,
    )
    audit(ROOT / "resources" / "audit.yaml", REPORTED, [CLASS_LIST], folder / "audit")


def _files(folder: Path, kind: str) -> list[Path]:
    """Return the teachers' files of a kind."""
    return [folder / kind / f"{key}.parquet" for key in CONFIG["teachers"]]


def _examples(folder: Path) -> list[Example]:
    sample, images = folder / "sample.parquet", [folder / "images.parquet"]
    annotations = _files(folder, "annotations")
    return choose_examples(sample, images, annotations, CONFIG["teachers"], CONFIG["seed"], 3)


PROMPT, TEACHERS = CONFIG["prompts"][CONFIG["prompt"]], CONFIG["teachers"]
DRAWN = CONFIG["benchmark"] | {
    "models": CONFIG["benchmarked"],
    "teachers": TEACHERS,
    "names": NAMES,
}
FIGURES = {
    "organisation": lambda run: figure_organisation.draw_organisation(
        _examples(run)[:2], PROMPT, TEACHERS, NAMES
    ),
    "sample": lambda run: figure_sample.draw_sample(_examples(run)[2], PROMPT, TEACHERS, NAMES),
    "coverage": lambda run: figure_coverage.draw_coverage(
        figure_coverage.count_domains(run / "sample.parquet", run / "classes.parquet")
    ),
    "lengths": lambda run: figure_lengths.draw_lengths(
        figure_lengths.read_lengths(_files(run, "lengths")), TEACHERS, NAMES, "a tokenizer"
    ),
    "scores": lambda run: figure_scores.draw_scores(
        pl.read_parquet(run / "aggregate.parquet"), DRAWN
    ),
    "agreement": lambda run: figure_agreement.draw_agreement(
        pl.read_parquet(run / "agreement.parquet"), DRAWN
    ),
}
"""How each figure of a run in a folder is drawn."""


def make_figures(folder: Path) -> list[Path]:
    """Make the figures of a run that `make_run` has made; return their PDFs."""
    pdfs = [folder / "figures" / f"figure_{name}.pdf" for name in FIGURES]
    for path, draw in zip(pdfs, FIGURES.values(), strict=True):
        save_figure(draw(folder), path, path.with_suffix(".png"))
    return pdfs
