"""The metrics' declarations."""

from collections import Counter

import pytest

from imagenet_think.core import plugins, settings
from imagenet_think.metrics import registry
from imagenet_think.run import configuration

LEAVES = settings.all_leaves(configuration.schema())


def test_names_are_those_of_modules_and_sections_of_the_config():
    names = {metric.name for metric in registry.metrics()}
    assert names == set(plugins.names(registry.PACKAGE))
    for metric in registry.metrics():
        leaves = settings.leaves(f"benchmark.{metric.name}", LEAVES)
        assert {f"benchmark.{metric.name}.{key}" for key in metric.tuning} < set(leaves)


def test_every_name_is_declared_once():
    measures = [own for metric in registry.metrics() for own in metric.measures]
    columns = [column for metric in registry.metrics() for column in metric.score_columns]
    for names in ([own.name for own in measures], [own.macro_name for own in measures], columns):
        assert max(Counter(names).values()) == 1
    for metric in registry.metrics():
        assert {own.score_column for own in metric.measures} <= set(metric.score_columns)


def test_the_order_is_the_papers():
    assert list(registry.tables()) == [*("table3", "table4", "table5", "table6", "bertscore")]
    assert list(registry.printed()) == [
        *("bertscore", "sbert", "rouge1", "rougeL", "jaccard", "overlap", "tfidf", "cosine")
    ]
    assert registry.measures()["tfidf"].printed({"printed_tfidf": "tfidf_pair"}) == "tfidf_pair"


def test_an_unknown_metric_is_an_error():
    with pytest.raises(ValueError, match=r"'bleu' is not in metrics\.definitions, which has"):
        registry.get("bleu")
