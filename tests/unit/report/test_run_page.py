"""The first page of Snakemake's report."""

from types import SimpleNamespace

import jinja2
import pytest
from configs import ROOT, config

TEMPLATE = (ROOT / "rules" / "report" / "run.rst").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "changes", "said", "not_said"),
    [
        ("miniature", {}, ["drawings by the pipeline", "7 are miniature"], []),
        (
            "miniature",
            {"models/kimi-vl/repository": "other/model", "images/source/kind": "folder"},
            ["144 images", "6 are miniature"],
            ["drawings"],
        ),
        ("config", {}, ["250,000 images", "2 teachers"], ["miniature", "drawings"]),
        ("config", {"images/source/kind": "drawings"}, ["drawings by"], ["miniature"]),
    ],
)
def test_the_page_says_what_is_true_of_the_run(name, changes, said, not_said):
    settings = config(changes, name)
    settings["described"] = {key: model["name"] for key, model in settings["models"].items()}
    text = jinja2.Template(TEMPLATE).render(snakemake=SimpleNamespace(config=settings))
    text = " ".join(text.replace("(miniature)", "").split())
    assert [words for words in said if words not in text] == []
    assert [words for words in not_said if words in text] == []
