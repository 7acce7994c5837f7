import csv
import json
import random
import re
from pathlib import Path
from statistics import fmean, pstdev

import pytest
import yaml
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from synthetic_run import CLASS_LIST

from audit import arguments, audit, examine
from imagenet_think.report import audit_checks
from imagenet_think.report.audit_checks import CONSISTENT, CONTRADICTS, OPEN, read_number

RESOURCES = Path(__file__).parents[3] / "resources"
ENTRIES = yaml.safe_load((RESOURCES / "audit.yaml").read_text(encoding="utf-8"))
REPORTED = yaml.safe_load((RESOURCES / "reported.yaml").read_text(encoding="utf-8"))
KINDS = {"hard": 13, "argued": 10, "quote": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    files = [RESOURCES / name for name in ("audit.yaml", "reported.yaml")]
    audit(*files, [CLASS_LIST], folder / "audit")
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    with open(folder / "audit.csv", newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


# The entries --------------------------------------------------------------------------------------


def test_every_entry_has_kind_place_quotes_and_note_and_every_check_is_used():
    entries = ENTRIES["entries"]
    checked = [entry for entry in [*entries, *ENTRIES["readings"]] if "check" in entry]
    assert {entry["check"]["name"] for entry in checked} == audit_checks.CHECKS.keys()
    assert [entry["id"] for entry in entries] == [f"E{n:02}" for n in range(1, 32)]
    for entry in entries:
        assert entry.keys() - {"check"} == {"id", "name", "kind", "where", "quotes", "note"}
        assert all(isinstance(quote, str) and quote.strip() for quote in entry["quotes"])
    kinds = [entry["kind"] for entry in entries]
    assert {kind: kinds.count(kind) for kind in KINDS} == KINDS


def test_numbers_decide_every_hard_entry_and_no_quotation(rows):
    for row in rows.values():
        assert bool(row["formula"]) == bool(row["computed"])
        if row["kind"] == "hard":
            assert row["verdict"] == CONTRADICTS, row["id"]
        elif row["kind"] == "argued":
            assert row["verdict"] in (CONTRADICTS, OPEN), row["id"]
        else:
            assert not row["verdict"]
            assert row["kind"] == "reading" or not row["computed"]


def test_entries_contain_no_results():
    for entry in [*ENTRIES["entries"], *ENTRIES["readings"]]:
        words = entry.get("note", entry.get("reading"))
        named = re.sub(r"“[^”]*”|(Section|Table|Figure)s? [\d.]+( and [\d.]+)?", "", words)
        named = re.sub(r"F1|OpenVLThinker-7B|ImageNet-21[kK](-P)?|winter 2021", "", named)
        assert not re.search(r"\d", named), entry
        given = json.dumps(entry.get("check", {}).get("given", {}))
        for measured in ENTRIES["measured"].values():
            given = given.replace(json.dumps(measured), "")
        names = re.sub(r"rouge1|OpenVLThinker-7B", "", given)
        assert not re.search(r"\d", names), entry


def test_computed_numbers(rows):
    known = {
        "E01": ["= 0.57", "stated: 2.5", "LLaVA-CoT-100K) = 2.54"],
        "E02": ["Visual CoT has 438,000"],
        "E03": ["= 11.79", "= 23.58"],
        "E05": ["At most 4.5", "3.67"],
        "E07": ["385.5 million"],
        "E09": ["601.4 million", "factor of 820"],
        "E10": ["376,200"],
        "E12": ["954 classes", "1.3 a class"],
        "E15": ["48%", "has 10,450"],
        "E17": ["0.784 / 0.809"],
        "E19": ["OpenVLThinker-7B 0.527 / 0.559"],
        "E20": ["t Avg.: OpenVLThinker-7B 0.525", "Max: OpenVLThinker-7B 0.568"],
        "E21": ["3 of 8 cells"],
        "E22": ["0.792–0.820"],
        "E23": ["under Cosine Similarity;", "0.795 / 0.820"],
        "E24": ["10 of 10 cells"],
        "E25": ["5 of 5 models"],
        "E26": ["highest in 5", "highest in 3, lowest in 1"],
        "E27": ["tied for it in ROUGE-L"],
        "E31": ["Avg. 0.000 to 0.018", "Max 0.000 to 0.021"],
        "R01": ["385.5 million", "771.0 million", "194,553 to 259,403"],
    }
    for entry, numbers in known.items():
        for number in numbers:
            assert number in rows[entry]["computed"], entry


def test_kinds_are_separate_on_the_page_and_in_latex(folder):
    page = (folder / "audit.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", page, re.M)
    assert headings[1:4] == ["Hard contradictions", "Argued", "By quotation only"]
    tex = (folder / "audit.tex").read_text(encoding="ascii")
    for parts in (re.split(r"^## .*$", page, flags=re.M), tex.split(r"\begin{longtable}")):
        counts = [len(re.findall(r"^(?:\| )?E\d\d ", part, re.M)) for part in parts[1:4]]
        assert counts == list(KINDS.values())


# Checks change with their numbers -----------------------------------------------------------------


def changed(entry, **other):
    """Return the verdict of an entry's check with some arguments changed."""
    section = next(each for each in ENTRIES["entries"] if each["id"] == entry)
    given = arguments(section["check"], section["quotes"], REPORTED, {CLASS_LIST.name: 10_450})
    _, check = audit_checks.CHECKS[section["check"]["name"]]
    return audit_checks.VERDICTS[check(**given | other)[1]]


OPENVL = "OpenVLThinker-7B"
RANGE = [read_number("0.795"), read_number("0.820")]
MAXIMUM = {metric: [0.5, 0.5, 0.4, 0.4, 0.9, 0.9] for metric in audit_checks.LEXICAL}


@pytest.mark.parametrize(
    ("entry", "arguments"),
    [
        ("E01", {"claimed": read_number("0.6")}),
        ("E02", {"images": {"ImageNet-Think": 250_000, "MAC": 9_000}}),
        ("E03", {"claimed": read_number("24")}),
        ("E04", {"mean": 23.9}),
        ("E05", {"sd": read_number("3.1")}),
        ("E06", {"claimed": read_number("two")}),
        ("E07", {"total": read_number("0.4B")}),
        ("E09", {"total": read_number("601M")}),
        ("E10", {"images": read_number("1.9k")}),
        ("E15", {"classes": 21_841, "listed": 10_450}),
        ("E17", {"bounds": [read_number("0.78"), read_number("0.80")]}),
        ("E19", {"claimed": [read_number("0.527"), read_number("0.559")], "models": [OPENVL]}),
        ("E20", {"metrics": ["jaccard"]}),
        ("E21", {"metrics": ["jaccard"]}),
        ("E22", {"models": [OPENVL], "metrics": ["tfidf"], "bounds": [RANGE]}),
        ("E23", {"claimed": RANGE}),
        ("E24", {"above": "cosine", "below": "tfidf"}),
        ("E25", {"cosine": "overlap"}),
        ("E26", {"ablation": {"rouge1": [0.5, 0.5, 0.4, 0.4, 0.6, 0.6]}}),
        ("E27", {"ablation": MAXIMUM}),
    ],
)
def test_a_statement_that_fits_is_not_a_contradiction(entry, arguments):
    assert changed(entry, **arguments) == CONSISTENT


def test_a_statement_that_cannot_be_decided_may_become_a_contradiction():
    """A vocabulary below that of one image; fewer classes than the processed version has."""
    assert changed("E12") == OPEN
    assert changed("E12", words=read_number("290")) == CONTRADICTS
    assert changed("E15", classes=9_000, listed=10_450) == CONTRADICTS


@pytest.mark.parametrize("seed", range(5))
def test_no_values_vary_more_than_the_bounds(seed):
    draw = random.Random(seed)
    values = [draw.choice((22, 31, draw.uniform(22, 31))) for _ in range(50)]
    mean, sd = fmean(values), pstdev(values)
    assert audit_checks.spread(audit_checks.Printed("", sd, 0.0), 22, 31, mean)[1]
    assert sd**2 <= (31 - mean) * (mean - 22) + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_tfidf_fitted_on_two_texts_is_never_above_raw_counts(seed):
    draw = random.Random(seed)
    words = [f"word{n}" for n in range(12)]
    pair = [" ".join(draw.choices(words, k=draw.randint(1, 30))) for _ in range(2)]
    raw, weighed = (
        cosine_similarity(kind().fit_transform(pair))[0, 1]
        for kind in (CountVectorizer, TfidfVectorizer)
    )
    assert weighed <= raw + 1e-12


# Reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "step"),
    [
        ("250K", 250_000, 1_000),
        ("1.8k", 1_800, 100),
        ("0.3B", 300_000_000, 100_000_000),
        ("2.1M", 2_100_000, 100_000),
        ("21,208", 21_208, 1),
        ("14 million", 14_000_000, 1_000_000),
        ("0.809", 0.809, 0.001),
        ("three", 3, 1),
    ],
)
def test_printed_numbers(text, value, step):
    number = read_number(text)
    assert number.value == value
    assert number.step == pytest.approx(step)


def test_other_texts_are_not_numbers():
    for text in ("", "about 3", "1.2.3", "4x"):
        with pytest.raises(ValueError, match="not a number"):
            read_number(text)


def test_rounding_and_truncation():
    printed = read_number("0.3B")
    assert printed.rounds(0.25e9)
    assert printed.rounds(0.1e9, 0.26e9)
    assert not printed.rounds(0.36e9)
    assert printed.cuts(0.39e9)
    assert not printed.cuts(0.41e9)


def test_a_missing_number_or_quote_is_reported_with_the_entry():
    entry = ENTRIES["entries"][3]
    for changes, message in (
        ({"reported": {"mean": "text.no_such"}}, "E04: .*text.no_such"),
        ({"quoted": {"mean": "none of it"}}, "E04: no quote matches 'none of it'"),
    ):
        broken = {"entries": [entry | {"check": entry["check"] | changes}], "readings": []}
        with pytest.raises(ValueError, match=message):
            examine(broken, REPORTED, {})
