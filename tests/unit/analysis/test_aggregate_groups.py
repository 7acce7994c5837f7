import numpy as np
import polars as pl
import pytest
from score_files import frames, write

from aggregate_groups import aggregate_groups, by_image, by_length
from imagenet_think.analysis.aggregation import read_scores
from imagenet_think.analysis.intervals import Intervals
from imagenet_think.analysis.populations import FIXED
from imagenet_think.core.schemas import GROUPS, LENGTHS, SAMPLE
from imagenet_think.metrics import registry
from imagenet_think.parsing import PARTS

METRIC = registry.get("vectors")
MODELS = ["a", "b"]
IDS = [f"i{place:03}" for place in range(12)]
DOMAINS = ["plant"] * 3 + ["animal"] * 7 + ["food"] * 2
INTERVALS = Intervals(0.9, FIXED)


def make_sample(strata=True):
    rows = [
        {"image_id": image, "wnid": "n1", "domain": domain}
        | ({"complexity_stratum": place % 2 + 1} if strata else {})
        for place, (image, domain) in enumerate(zip(IDS, DOMAINS, strict=True))
    ]
    return pl.DataFrame(rows[::-1], schema=SAMPLE)


def make_lengths(tokens):
    """Lengths of full outputs by model; those of the parts are traps."""
    rows = [
        {"image_id": image, "model": model, "part": part, "tokens": n if part == "full" else 5}
        for model, counts in tokens.items()
        for image, n in zip(IDS, counts, strict=True)
        for part in PARTS
    ]
    return pl.DataFrame(rows, schema=LENGTHS)


TOKENS = {"a": range(100, 1300, 100), "b": [50] * 9 + [70, 80, None]}


@pytest.fixture
def pairs():
    pairs = {
        (image, model, part): (place / 20, place / 20 + shift)
        for model, shift in (("a", 0.0), ("b", 0.3))
        for part in PARTS
        for place, image in enumerate(IDS)
    }
    pairs["i001", "a", "full"] = "response"
    return pairs


def scores(pairs, folder):
    return read_scores(METRIC, [write(frames(pairs), folder)[METRIC.name]], MODELS)


@pytest.fixture
def groups(tmp_path, pairs):
    scored = scores(pairs, tmp_path)
    return aggregate_groups(scored, make_sample(), make_lengths(TOKENS), MODELS, INTERVALS)


def test_means_of_each_domain(groups):
    assert groups.schema == GROUPS
    by_domain = groups.filter(grouping="domain")
    assert by_domain["group"].unique(maintain_order=True).to_list() == ["animal", "plant", "food"]
    assert by_domain["part"].unique().to_list() == ["full"]
    metrics = [measure.name for measure in METRIC.measures]
    assert by_domain["metric"].unique(maintain_order=True).to_list() == metrics
    assert len(by_domain) == 3 * len(MODELS) * len(metrics) * 2
    chosen = by_domain.filter(model="a", metric="tfidf", aggregate="avg")
    values = dict(chosen.select("group", "value").iter_rows())
    assert values["animal"] == pytest.approx(np.mean(range(3, 10)) / 20)
    assert values["plant"] == pytest.approx((0 + 2) / 2 / 20)
    counts = {row["group"]: row for row in chosen.iter_rows(named=True)}["plant"]
    assert (counts["images"], counts["left_out"], counts["no_response"]) == (2, 1, 1)
    assert (counts["low"], counts["high"]) == (None, None)  # of too few images


def test_domains_and_strata_divide_the_images(groups):
    for grouping in ("domain", "stratum"):
        chosen = groups.filter(grouping=grouping, model="b", metric="cosine", aggregate="avg")
        assert (chosen["images"] + chosen["left_out"]).sum() == len(IDS)
    assert groups.filter(grouping="stratum")["group"].unique(maintain_order=True).to_list() == [
        *("1", "2")
    ]


def test_quarters_are_of_each_models_lengths(groups):
    by_length = groups.filter(grouping="length", metric="cosine", aggregate="avg")
    of_a = by_length.filter(model="a", part="think")
    assert of_a["group"].to_list() == [
        "1 (100–300 tokens)",
        "2 (400–600 tokens)",
        "3 (700–900 tokens)",
        "4 (1,000–1,200 tokens)",
    ]
    assert of_a["value"].to_list() == pytest.approx([1 / 20, 4 / 20, 7 / 20, 10 / 20])
    # Outputs of one length stay together, and an image without output is in no quarter.
    of_b = by_length.filter(model="b", part="answer")
    assert of_b["group"].to_list() == ["1 (50 tokens)", "4 (70–80 tokens)"]
    assert of_b["images"].to_list() == [9, 2]
    assert by_length["part"].unique().sort().to_list() == sorted(PARTS)


def test_without_strata_or_lengths_there_are_no_such_groups(tmp_path, pairs):
    scored = scores(pairs, tmp_path)
    groupings = [grouping for grouping, *_ in by_image(scored, make_sample(strata=False))]
    assert set(groupings) == {"domain"}
    nothing = make_lengths({"a": [None] * 12, "b": TOKENS["b"]})
    assert {key.model for _, _, keys, _ in by_length(scored, nothing, MODELS) for key in keys} == {
        "b"
    }


def test_an_image_that_was_not_sampled_is_an_error(tmp_path, pairs):
    scored = scores(pairs, tmp_path)
    with pytest.raises(ValueError, match="image i000 has scores, but is not in the sample"):
        list(by_image(scored, make_sample().filter(pl.col("image_id") != "i000")))


def test_images_that_are_not_evaluated_are_in_no_group(tmp_path, pairs):
    few = {key: pair for key, pair in pairs.items() if key[0] in IDS[:4]}
    scored = scores(few, tmp_path)
    chosen = {group: len(rows) for _, group, _, rows in by_image(scored, make_sample())}
    assert chosen == {"plant": 3, "animal": 1, "1": 2, "2": 2}
    lengths = by_length(scored, make_lengths(TOKENS), ["a"])
    assert [group for _, group, _, _ in lengths] == [f"{k} ({k}00 tokens)" for k in range(1, 5)]
