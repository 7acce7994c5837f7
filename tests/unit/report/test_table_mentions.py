from itertools import product

import numpy as np
import polars as pl
import pytest
from written_tables import read_table

from imagenet_think.analysis.resampling import share
from imagenet_think.core import schemas
from imagenet_think.report.tables import with_interval
from table_mentions import table_mentions

SETTINGS = {
    "seed": 1,
    "benchmarked": ["b", "a"],
    "models": {"a": {"name": "Model_A"}, "b": {"name": "Model B"}},
    "benchmark": {"intervals": {"level": 0.9}},
}
IMAGES = 40


def sample() -> pl.DataFrame:
    place = pl.int_range(IMAGES)
    return pl.select(
        image_id=pl.format("i{}", place.cast(pl.String).str.zfill(2)),
        domain=pl.when(place % 4 > 0).then(pl.lit("animal")).otherwise(pl.lit("plant")),
        complexity_stratum=pl.when(place % 5 > 0).then(1 + place % 2),
    )


def mentions(model: str, shares: tuple[float, ...], images: int = IMAGES) -> pl.DataFrame:
    draw = np.random.default_rng(sum(map(ord, model)))
    rows = []
    for place in range(images):
        found = [None] * 4 if place % 8 == 3 else [bool(draw.random() < s) for s in shares]
        rows.append((f"i{place:02d}", model, *found))
    return pl.DataFrame(rows, schema=schemas.MENTIONS, orient="row")


FOUND = {
    "a": mentions("a", (0.6, 0.2, 0.3, 0.1)),
    "b": mentions("b", (0.4, 0.0, 0.9, 0.0), images=30),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("mentions"))


def write_table(folder, images=None, **changed):
    """Write the table of some mentions; return its csv, caption and cells."""
    images = sample() if images is None else images
    images.write_parquet(folder / "sample.parquet")
    for model, frame in (FOUND | changed).items():
        frame.write_parquet(folder / f"{model}.parquet")
    paths = [folder / "a.parquet", folder / "b.parquet"]
    table_mentions(paths, folder / "sample.parquet", folder / "mentions", SETTINGS)
    return read_table(folder / "mentions")


def of_all_images(frame):
    rows = frame.filter(grouping="all").iter_rows(named=True)
    return {row["key"]: row for row in rows}


def wanted(model: str, images: pl.Series) -> dict[str, float]:
    rows = FOUND[model].filter(pl.col("image_id").is_in(images.implode())).drop_nulls("synset")
    below = rows["synset"] | rows["hyponym"]
    return {
        "synset": rows["synset"].mean(),
        "synset_or_hyponym": below.mean(),
        "any": (below | rows["hypernym"]).mean(),
        "chance": rows["other"].mean(),
        "answers": len(rows),
    }


def test_shares_are_those_of_the_answers(run):
    frame, *_ = run
    images = sample()
    groups = [("all", "all"), ("domain", "animal"), ("domain", "plant")]
    groups += [("stratum", "1"), ("stratum", "2")]
    assert frame.select("grouping", "group", "model").rows() == [
        (*group, name) for group in groups for name in ("Model B", "Model_A")
    ]
    chosen = {"all": pl.lit(True), "animal": pl.col("domain") == "animal"}
    chosen |= {str(stratum): pl.col("complexity_stratum") == stratum for stratum in (1, 2)}
    for (group, those), model in product(chosen.items(), ("a", "b")):
        row = frame.filter(group=group, key=model).row(0, named=True)
        for name, value in wanted(model, images.filter(those)["image_id"]).items():
            assert row[name] == pytest.approx(value), (group, model, name)
        assert row["any_low"] <= row["any"] <= row["any_high"]


def test_responses_without_an_answer_are_counted(run, tmp_path):
    frame, caption, _ = run
    rows = of_all_images(frame)
    assert (rows["a"]["answers"], rows["a"]["no_answer"]) == (35, 5)
    assert (rows["b"]["answers"], rows["b"]["no_answer"]) == (26, 4)
    assert "9 responses without an answer or of a class without a name left out" in caption
    # Model b was prompted with fewer images.
    assert "the other models for those that are evaluated (benchmark.images)" in caption
    whole = FOUND["a"].fill_null(False)
    found = pl.when(pl.col("image_id") != "i07").then(pl.exclude("image_id", "model"))
    silent = whole.with_columns(found)
    _, caption, _ = write_table(tmp_path, a=silent, b=whole.with_columns(model=pl.lit("b")))
    # Both models were prompted with all images, which needs no words.
    assert "; 1 response without an answer or of a class without a name left out. Sm" in caption


def test_intervals_are_wilson_s_and_have_a_width_at_0(run):
    rows = of_all_images(run[0])
    for key, name in (("a", "synset"), ("b", "chance")):
        row = rows[key]
        numbers = share(round(row[name] * row["answers"]), row["answers"], 0.9)
        assert tuple(row[own] for own in with_interval(name)) == pytest.approx(numbers, abs=1e-12)
    assert (rows["b"]["chance"], rows["b"]["chance_low"]) == (0, 0)
    assert rows["b"]["chance_high"] > 0.05


def test_what_is_printed(run):
    frame, caption, (_, _, cells, *rows) = run
    strata = [f"{model}, complexity {n}" for model in ("Model B", "Model_A") for n in (1, 2)]
    assert [row[0] for row in rows] == strata
    row = of_all_images(frame)["a"]
    assert cells[0] == "Model_A"
    assert cells[1].startswith(f"{row['synset']:.1%} ({row['synset_low']:.1%}–")
    assert cells[4].startswith(f"{row['chance']:.1%} (")
    assert cells[5] == "35"
    assert "90% intervals (Wilson)" in caption


def test_without_strata_domains_or_answers(tmp_path):
    images = sample().clear(IMAGES).with_columns(sample()["image_id"])
    silent = FOUND["b"].clear(30).with_columns(FOUND["b"]["image_id", "model"])
    frame, *_ = write_table(tmp_path, images, b=silent)
    assert frame["grouping"].to_list() == ["all", "all"]
    assert frame.select("synset", "synset_low", "answers").row(0) == (None, None, 0)


def test_wrong_rows_are_an_error(tmp_path):
    twice = pl.concat([FOUND["a"], FOUND["a"].head(1)])
    with pytest.raises(ValueError, match="mentions of a: image i00 appears more"):
        write_table(tmp_path, a=twice)
    strange = FOUND["a"].with_columns(image_id=pl.lit("x") + pl.col("image_id"))
    with pytest.raises(ValueError, match="mentions of a: image xi00 is not in the sample"):
        write_table(tmp_path, a=strange)
