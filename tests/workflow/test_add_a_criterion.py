"""A new criterion is one function and its threshold; all other places derive from it."""

import polars as pl
import pytest

from .additions import CONFIG, RESULTS, documented, report_again
from .conftest import listed

pytestmark = pytest.mark.slow

MODULE = "scripts/imagenet_think/images/criteria.py"
CRITERION = """@criterion(
    "max_side",
    "larger than anyone needs",
    "has a side longer than {} pixels",
    "pixels",
)
def too_large(candidate: Candidate, most: int) -> str | None:
    longest = max(candidate.size)
    return f"{longest} pixels, above {most}" if longest > most else None


"""
THRESHOLD = """\
          max_side:
            description: Longest side in pixels.
            type: [integer, "null"]
            default: null
"""


def test_a_criterion_is_its_function_and_its_threshold(finished):
    results = finished.root / RESULTS

    module = (finished.root / MODULE).read_text()
    place = module.index('@criterion(\n    "min_contrast"')
    (finished.root / MODULE).write_text(module[:place] + CRITERION + module[place:])
    schema = (finished.root / "config/schema.yaml").read_text()
    place = schema.index("          min_contrast:\n")
    (finished.root / "config/schema.yaml").write_text(schema[:place] + THRESHOLD + schema[place:])
    with finished.editing() as config:
        config["images"]["criteria"]["max_side"] = 300

    rule = "has a side longer than 300 pixels"
    texts = report_again(finished)
    assert rule in texts["write_card"]
    assert rule in texts["export_numbers"]
    assert "`images.criteria.max_side`" in documented(finished)

    said = finished.snakemake(*CONFIG, "sampling")
    assert "collect_candidates" in listed(said)
    assert "catalogue_images" not in listed(said)
    sample = pl.read_parquet(results / "images" / "sample.parquet")
    assert max(sample["width"].max(), sample["height"].max()) <= 300
    exclusions = pl.read_parquet(results / "images" / "exclusions.parquet")
    rejected = exclusions.filter(pl.col("reason") == "too_large")
    assert set(rejected["detail"]) == {"308 pixels, above 300"}
    page = " ".join((results / "images" / "report.html").read_text().split())
    assert rule in page
    assert f">larger than anyone needs: {len(rejected)} of {len(rejected)}<" in page
