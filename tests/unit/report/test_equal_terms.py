"""From texts to every table that compares models: a model that answers for few images.

Of 40 images, the copier answers for the 12 on which the best model's texts are best, word for word
with those texts. The means of all its texts are higher; it is not better.
"""

import random
from types import SimpleNamespace

import polars as pl
import pytest
import yaml
from configs import config
from tests.pretended_runs import ROOT
from tests.unit.scored_shards import score, write_shard
from written_tables import read_table

from aggregate_groups import aggregate_groups
from aggregate_scores import aggregate_scores
from compare_models import compare_models
from compare_with_paper import MODELS as MODEL_NAMES
from compare_with_paper import compare_with_paper
from figure_scores import draw_scores
from fit_document_frequencies import fit_document_frequencies
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.analysis.populations import FIXED
from imagenet_think.core.csv_files import write_csv
from imagenet_think.core.schemas import LENGTHS, SAMPLE
from imagenet_think.metrics import registry
from imagenet_think.metrics.score_schemas import scores
from imagenet_think.parsing import PARTS
from imagenet_think.report import paper_macros
from imagenet_think.report.common_images import COMMON
from imagenet_think.report.table_captions import HEADINGS
from table_ablation import table_ablation
from table_benchmark import table_benchmark
from table_groups import table_groups
from table_parts import table_parts
from table_ranks import table_ranks

IMAGES, ANSWERED = 40, 12
IDS = [f"i{place:03}" for place in range(IMAGES)]
BEST, COPIER, POOR = MODELS = ["internvl3.5", "r1-onevision", "openvlthinker"]
SETTINGS = config({"benchmarked": MODELS, "benchmark/ablation_model": POOR}, name="miniature")
NAMES = [SETTINGS["models"][key]["name"] for key in MODELS]
INTERVALS = Intervals(0.95, FIXED)
WORDS = [f"{first}{second}" for first in "bcdfghklmn" for second in ("all", "ent", "oat", "ine")]
TOKENS = {"token_pattern": r"(?u)\b\w\w+\b", "stop_words": None}


def make_texts():
    """Return think and answer by image and model; the poor model fails to answer for two images."""
    draw = random.Random(11)

    def near(text, share):
        """Return a text with a share of its words, the others drawn at random."""
        return " ".join(w if draw.random() < share else draw.choice(WORDS) for w in text.split())

    texts = {}
    for place, image in enumerate(IDS):
        glm, kimi = ([" ".join(draw.choices(WORDS, k=30)) for _ in range(2)] for _ in range(2))
        texts[image, "glm"], texts[image, "kimi"] = tuple(glm), tuple(kimi)
        texts[image, BEST] = tuple(near(text, 0.9 if place < ANSWERED else 0.3) for text in glm)
        texts[image, COPIER] = texts[image, BEST] if place < ANSWERED else None
        texts[image, POOR] = tuple(near(text, 0.1) for text in glm) if 5 < place < 38 else None
    return texts


def make_scores(folder, texts):
    """Score the texts; return a file for each metric. Embedding metrics take ROUGE's numbers."""
    files, corpus = {}, folder / "document_frequencies.parquet"
    for metric in ("rouge", "sets", "vectors"):
        shard = write_shard(folder, texts, dict.fromkeys(IDS, "n1"), models=MODELS, metric=metric)
        copied = pl.read_parquet(folder / f"{COPIER}.parquet")
        copied = copied.with_columns(full=pl.when(status="ok").then("full"))
        copied.write_parquet(folder / f"{COPIER}.parquet")  # no response, not even one to parse
        fit_document_frequencies(shard.annotations[:2], corpus, **TOKENS)
        statistics = {"document_frequencies": corpus} if metric == "vectors" else {}
        score(metric, shard, statistics, **({"stemmer": False} if metric == "rouge" else TOKENS))
        files[metric] = shard.scores
    rouge = pl.read_parquet(files["rouge"])
    for metric in registry.metrics():
        if metric.encoder:
            schema = scores(metric)
            taken = {f"{name}_{k}": f"rougeL_{k}" for name in metric.score_columns for k in (1, 2)}
            frame = rouge.with_columns(
                pl.col(taken.get(name, name)).alias(name)
                if name in rouge.columns or name in taken
                else pl.lit(1.0).alias(name)
                for name in schema
            )
            files[metric.name] = folder / f"{metric.name}.parquet"
            frame.select(schema.names()).write_parquet(files[metric.name])
    return files


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the run's rules make of the texts, from scores to tables."""
    folder = tmp_path_factory.mktemp("run")
    texts = make_texts()
    domains = [("plant", "animal")[place % 2] for place in range(IMAGES)]
    sample = pl.DataFrame(
        [
            {"image_id": image, "wnid": "n1", "domain": domain, "complexity_stratum": 1}
            for image, domain in zip(IDS, domains, strict=True)
        ],
        schema=SAMPLE,
    )
    lengths = pl.DataFrame(
        [
            {"image_id": image, "model": model, "part": "full", "tokens": 60 + place // 3}
            for place, image in enumerate(IDS)
            for model in MODELS
            if model != COPIER or place < ANSWERED
        ],
        schema=LENGTHS,
    )
    found = {name: [] for name in ("aggregate", "groups", "differences")}
    for metric, path in make_scores(folder, texts).items():
        scored = read_scores(registry.get(metric), [path], MODELS)
        found["aggregate"].append(aggregate_scores(scored, INTERVALS))
        found["groups"].append(aggregate_groups(scored, sample, lengths, MODELS, INTERVALS))
        found["differences"].append(compare_models(scored, MODELS, INTERVALS))
    files = {name: folder / f"{name}.parquet" for name in found}
    for name, frames in found.items():
        pl.concat(frames).write_parquet(files[name])
    aggregate, groups, differences = files.values()
    statistics = [folder / "document_frequencies.parquet"]
    for table in registry.tables():
        table_benchmark(aggregate, statistics, folder / table, SETTINGS)
    table_ablation(aggregate, statistics, folder / "table7", SETTINGS)
    table_ranks(differences, aggregate, statistics, folder / "ranks", SETTINGS)
    table_groups(groups, aggregate, statistics, folder / "groups", SETTINGS)
    table_parts(aggregate, groups, statistics, folder / "parts", SETTINGS)
    return SimpleNamespace(folder=folder, aggregates=pl.read_parquet(aggregate))


def numbers(cell):
    """Return the number of a cell without its marks and its interval."""
    return float(cell.split()[0].strip("*").replace("<ins>", "").replace("</ins>", ""))


def test_the_copier_s_own_means_are_higher(run):
    """Otherwise the other tests show nothing."""
    chosen = run.aggregates.filter(part="full", aggregate="avg", metric="rouge1")
    rows = {row["model"]: row for row in chosen.iter_rows(named=True)}
    assert rows[COPIER]["value"] > rows[BEST]["value"] + 0.05
    assert [rows[model]["images"] for model in MODELS] == [IMAGES, ANSWERED, IMAGES]
    assert rows[COPIER]["value"] == rows[COPIER]["common"] == rows[BEST]["common"]
    assert {row["common_images"] for row in rows.values()} == {ANSWERED}


@pytest.mark.parametrize("table", registry.tables())
def test_tables_of_scores_mark_the_means_over_common_images(run, table):
    csv, caption, (_, *cells) = read_table(run.folder / table)
    titles = [*NAMES, *(f"{name}, {COMMON}" for name in NAMES)]
    assert [row[0] for row in cells] == titles
    assert [row[-1] for row in cells] == ["40", "12", "40", *3 * ["12"]]
    for row in cells[:3]:
        assert not any("**" in cell or "<ins>" in cell for cell in row)
        assert all("–" in cell for cell in row[1:-1])  # each with its interval
    best, copier, poor = cells[3:]
    assert best[1:] == copier[1:]
    assert all(cell.startswith("**") for cell in copier[1:-1])
    assert all(cell.startswith("<ins>") for cell in poor[1:-1])
    assert f"{COMMON} are means over the 12 on which all of them are, without intervals" in caption
    assert csv["images"].to_list() == [40, 12, 40]
    assert csv["common_images"].to_list() == [12] * 3
    for name in csv.columns:
        if name.endswith("_common"):
            assert csv[name][0] == csv[name][1] == csv[name.removesuffix("_common")][1]


def test_ranks(run):
    csv, caption, (_, *cells) = read_table(run.folder / "ranks")
    assert dict(csv.select("key", "rank").unique().rows()) == {BEST: 1, COPIER: 1, POOR: 3}
    assert set(csv["images"]) == {ANSWERED}
    assert set(csv.filter(key=BEST, other_key=COPIER)["difference"]) == {0}
    assert "on the same images, the 12 on which all of them are scored." in caption
    assert [row[2] for row in cells] == ["1 (1–2)", "1 (1–2)", "3 (3–3)"]


def test_parts_of_every_model(run):
    csv, caption, (_, *cells) = read_table(run.folder / "parts")
    titles = [row[0] for row in cells if row[0]]
    assert titles[:6] == [
        f"{NAMES[0]}, n = 40",
        f"{NAMES[1]}, n = 12",
        f"{NAMES[2]}, n = 40 / 32 / 32",
        *(f"{name}, {COMMON}, n = 6" for name in NAMES),
    ]
    metrics = len(HEADINGS)
    best, copier, poor = (cells[k * metrics :][:metrics] for k in (3, 4, 5))
    assert [row[1:] for row in best[1:]] == [row[1:] for row in copier[1:]]
    for mine, other in zip(best, poor, strict=True):
        assert all(numbers(a) > numbers(b) for a, b in zip(mine[2:], other[2:], strict=True))
    everything = csv.filter(length="all")
    for name in (f"{part}_{end}" for part in PARTS for end in ("avg", "max")):
        of = [everything.filter(key=key)[f"{name}_shared"].to_list() for key in MODELS]
        assert of[0] == of[1] != of[2]
    assert "Outputs of equal length are in one quarter" in caption
    assert "they have 9 to 12 images" in caption
    # The poor model's first quarter has images without a thinking.
    assert f"{NAMES[2]}, quarter 1 (60–63 tokens), n = 12 / 6 / 6" in titles
    assert f"{NAMES[2]}, quarter 1 (60–63 tokens), {COMMON}, n = 6" in titles


def test_table_7_compares_parts_on_the_images_that_have_all(run):
    csv, caption, (_, *cells) = read_table(run.folder / "table7")
    assert len(cells) == 2 * len(HEADINGS)
    assert cells[len(HEADINGS)][0] == f"{HEADINGS['bertscore']}, {COMMON}"
    assert "rows of common images are means over the 32 on which all are" in caption
    counts = csv.select("part", "images", "paired_images").unique()
    assert sorted(counts.rows()) == [("answer", 32, 32), ("full", 40, 32), ("think", 32, 32)]
    parts = csv.filter(pl.col("part") != "full")
    assert parts["avg"].to_list() == parts["avg_paired"].to_list()


def test_groups_of_images(run):
    csv, caption, (_, *cells) = read_table(run.folder / "groups")
    titles = [row[:2] for row in cells if row[0]]
    assert titles == [
        ["animal", "20"],
        [f"animal, {COMMON}", "6"],
        ["plant", "20"],
        [f"plant, {COMMON}", "6"],
        ["complexity 1", "40"],
        [f"complexity 1, {COMMON}", "12"],
    ]
    assert all(row[3] == row[4] > row[5] for row in cells[3:6])
    both = csv.filter(grouping="domain").pivot(
        "key", index=["group", "metric", "aggregate"], values="value_common"
    )
    assert both[BEST].to_list() == both[COPIER].to_list()
    assert f"rows of {COMMON} are means over those on which all of them are" in caption


def test_the_text_of_the_paper(run):
    tables = [read_table(run.folder / name)[0] for name in registry.tables()]
    macros = paper_macros.score_macros(tables, read_table(run.folder / "table7")[0])
    assert (macros["CommonImages"], macros["PairedImages"]) == ("12", "32")
    for name in (own for own in macros if own.startswith("Best") and own.endswith("Models")):
        assert macros[name] == f"{NAMES[0]} and {NAMES[1]}"


def test_the_comparison_with_the_paper(run):
    reported = ROOT / "resources" / "reported.yaml"
    paper = yaml.safe_load(reported.read_text(encoding="utf-8"))
    others = {
        "table1": pl.DataFrame(schema=dict.fromkeys(("dataset", "source"), pl.String)),
        "table2": pl.DataFrame([paper["table2"]]),
        "language": pl.DataFrame(
            [{"measure": "tokens", "part": "answer", "n": 80, "mean": 30.0, "sd": 0.0}]
        ),
    }
    for name, frame in others.items():
        write_csv(frame, run.folder / f"{name}.csv")
    tables = [run.folder / f"{name}.csv" for name in (*others, *registry.tables(), "table7")]
    compare_with_paper(tables, reported, run.folder / "comparison", SETTINGS)
    csv, caption, (head, *cells) = read_table(run.folder / "comparison")
    rows = {(row[1], row[2]): row for row in cells}
    for heading in HEADINGS.values():
        best, copier = (rows[MODEL_NAMES[key], f"{heading}, avg"] for key in (BEST, COPIER))
        place = head.index("n")
        assert (best[place], copier[place]) == ("40", "12")
        assert best[place + 1] == copier[place + 1] == copier[head.index("Ours")]
    assert "by the means over the images that all have (Common)" in caption
    chosen = csv.filter(pl.col("table").is_in(["Tab. 3", "Tab. 4"])).drop_nulls("ours")
    assert set(chosen["common_images"]) == {ANSWERED}


def test_the_figure(run):
    figure = draw_scores(run.aggregates, SETTINGS)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert [label.split("\n")[-1] for label in labels] == ["n = 40", "n = 12", "n = 40"]
    for axes in figure.axes:
        own, same = ([c.lines[0].get_xdata() for c in axes.containers][k::2] for k in (0, 1))
        for line, common in zip(own, same, strict=True):
            assert line[1] == common[1] == common[0] > common[2]
            assert line[0] < line[1]
    (legend,) = figure.legends
    assert "the same, over the 12 common images" in [text.get_text() for text in legend.get_texts()]
