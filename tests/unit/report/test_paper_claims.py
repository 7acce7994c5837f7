"""What the paper's text claims, in runs in which it is not true."""

import re

import polars as pl
import pytest
from synthetic_run import CONFIG, ROOT, make_run

from export_numbers import export_numbers

MAIN = (ROOT / "paper" / "main.tex").read_text(encoding="utf-8")
SWITCH = re.compile(r"\\(if[A-Z][A-Za-z]*|else|fi)\b")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, make_run(folder)


def changed(**paths):
    """Return the settings with other values, by paths such as `images__balance`."""
    settings = CONFIG
    for path, value in paths.items():
        settings = _with(settings, path.split("__"), value)
    return settings


def _with(section, path, value):
    key, *rest = path
    return section | {key: _with(section[key], rest, value) if rest else value}


def imported(*keys):
    names = {key: CONFIG["models"][key]["name"] for key in keys}
    models = {key: {"name": names[key], "responses": {"path": "a.parquet"}} for key in keys}
    return changed(models=CONFIG["models"] | models)


ALL = tuple(CONFIG["models"])
REAL = changed(models={k: m | {"repository": f"a/{k}"} for k, m in CONFIG["models"].items()})
IMAGENET = changed(images__source={"kind": "class_tars", "path": "images"})
LISTED = changed(
    images={"source": {"kind": "listing"}, "criteria": CONFIG["images"]["criteria"]}
    | {"preparation": CONFIG["images"]["preparation"]}
)
OWN_PROMPT = changed(prompts={"section_3_2": "What is it?"})
ENCODERS = {name: CONFIG["benchmark"][name] | {"windows": "all"} for name in ("bertscore", "sbert")}
ALL_WINDOWS = changed(benchmark=CONFIG["benchmark"] | ENCODERS)


@pytest.fixture
def text(run, tmp_path):
    """A function that returns the paper's text as the run's macros and switches make it.

    `settings` are the config's; the other arguments are changes of data: expressions by table, and
    functions of the other files' frames.
    """
    folder, inputs = run

    def write(settings=CONFIG, tables=None, **frames):
        paths = {path.stem: path for path in inputs["tables"]}
        for name, columns in (tables or {}).items():
            paths[name] = tmp_path / f"{name}.csv"
            frame = pl.read_csv(folder / "tables" / f"{name}.csv", infer_schema_length=None)
            frame.with_columns(**columns).write_csv(paths[name])
        others = {}
        for name, change in frames.items():
            given = inputs[name] if isinstance(inputs[name], list) else [inputs[name]]
            others[name] = [tmp_path / f"{name}_{path.name}" for path in given]
            for old, new in zip(given, others[name], strict=True):
                change(pl.read_parquet(old)).write_parquet(new)
            others[name] = others[name] if isinstance(inputs[name], list) else others[name][0]
        output = tmp_path / "numbers.tex"
        arguments = {"tables": list(paths.values()), "settings": settings} | others
        export_numbers(**inputs | arguments, output=output)
        return typeset(MAIN, output.read_text(encoding="utf-8"))

    return write


def typeset(source, numbers):
    """Return a LaTeX text with macros and switches replaced."""
    macros = re.findall(r"\\newcommand\{\\(\w+)\}\{(.*?)\}(?=\n\\newcommand|\n\Z)", numbers, re.S)
    switches = dict(re.findall(r"\\newif\\if(\w+)\\\1(true|false)", numbers))
    body = re.sub(r"(?<!\\)%.*", "", source.split(r"\begin{abstract}")[1])
    shown, kept, last = [True], [], 0
    for found in SWITCH.finditer(body):
        kept.append(body[last : found.start()] if all(shown) else "")
        last = found.end()
        if found[1] == "else":
            shown[-1] = not shown[-1]
        elif found[1] == "fi":
            shown.pop()
        else:
            shown.append(switches.pop(found[1][2:], None) == "true" or _again(numbers, found[1]))
    assert shown == [True]
    assert not switches, f"switches that the text does not use: {switches}"
    text = "".join([*kept, body[last:]])
    for name, value in macros:
        text = re.sub(rf"\\{name}(?![A-Za-z])(\{{\}})?", lambda _, value=value: value, text)
    return re.sub(r"[\s~]+", " ", text)


def _again(numbers, switch):
    assert rf"\newif\{switch}\{switch[2:]}" in numbers, f"{switch} is not defined"
    return rf"\{switch[2:]}true" in numbers


NAMED = {"tables": {"table2": {"imagenet_names": pl.col("images")}}}
OTHER_LANGUAGE = {
    "language": {"mean": pl.when(measure="english_percent").then(60.0).otherwise("mean")}
}
NO_SAMPLES = {"table1": {"samples": pl.lit(0)}}
ONE_IMAGE = {"table2": {"images": pl.lit(1), "classes": pl.lit(1)}}
NO_THINKS = {"table7": {"avg": pl.when(part="think").then(None).otherwise("avg")}}

# A run, what is true of it, a run in which that is false, and what is said there instead.
CLAIMS = [
    (
        {"settings": IMAGENET} | NAMED,
        "because of ImageNet's terms",
        {},
        "not part of it. A command",
    ),
    (
        {"settings": IMAGENET} | NAMED,
        "carry the biases of ImageNet",
        {},
        "drawings that the pipeline",
    ),
    (
        {"settings": IMAGENET} | NAMED,
        "carry the biases of ImageNet",
        {"settings": IMAGENET},
        "one archive per class, none of them named as ImageNet's files are. What",
    ),
    (
        {"sample": lambda rows: rows.with_columns(wnid=pl.lit("n00000001"))},
        "of those into which WordNet's lexicographers",
        {},
        "shows its 4 domains.",
    ),
    ({}, "Candidates of a class come in an order", {"settings": LISTED}, "none was drawn, and no"),
    (
        {},
        "9 candidates were rejected: too small (5)",
        {"exclusions": lambda rows: rows.clear()},
        "0 candidates were rejected.",
    ),
    ({}, "were all given one of these", {"settings": OWN_PROMPT}, "were all given another one"),
    ({}, "were all given one of these", {"settings": imported(*ALL)}, "that were imported (Table"),
    ({}, "gets the prompt in its own chat", {"settings": imported(*ALL)}, "their prompt, weights"),
    ({}, "imitations of looking", {"settings": imported("kimi-vl")}, "parts were imported as such"),
    (
        {},
        "are miniature checkpoints",
        {"settings": REAL},
        "It is \\emph{not} the run of the paper.",
    ),
    ({}, "evidence about the pipeline, and about nothing", {"settings": REAL}, "Above all"),
    (
        {},
        "texts are in English, and",
        {"tables": OTHER_LANGUAGE},
        "60.00\\% and 60.00\\% are recog",
    ),
    ({}, "samples of which no part is missing", {"tables": NO_SAMPLES}, "no image of this run has"),
    (
        {},
        "The thinks score higher",
        {"tables": NO_THINKS},
        "the same parts of the teachers' texts.",
    ),
    ({}, "reads the first 512 and", {"settings": ALL_WINDOWS}, "reads all windows of 512 and"),
    ({}, "reads only the beginning of a text", {"settings": ALL_WINDOWS}, "all windows of 256"),
    (
        {},
        "which the response and both references are there",
        {"settings": changed(benchmark__missing="zero")},
        "with a score of zero where the response is not",
    ),
    ({}, "miniature'': 40 images of 4 classes,", {"tables": ONE_IMAGE}, "1 image of 1 class,"),
    ({}, "3 strata", {"settings": changed(images__complexity__strata=1)}, "over 1 stratum of"),
    (
        {},
        "five models benchmarked",
        {"settings": changed(benchmarked=["openvlthinker"])},
        "one model b",
    ),
]


@pytest.mark.parametrize(("usual", "claim", "other", "instead"), CLAIMS)
def test_what_is_not_true_is_not_claimed(usual, claim, other, instead, text):
    assert claim in text(**usual)
    found = text(**other)
    assert claim not in found
    assert instead in found


def test_pairs_have_thinking_and_answer(text):
    def without_thinking(rows):
        plain = pl.when(model="kimi-vl").then(pl.lit("no_think")).otherwise("think_status")
        return rows.with_columns(think_status=plain)

    pairs = re.compile(r"(\d+) \((\S+)\\%\) parsed and have both parts")
    usual, plain = text(), text(annotations=without_thinking)
    both, alone = (int(pairs.search(found)[1]) for found in (usual, plain))
    assert 0 < alone < both
    assert f" {alone} think--answer pairs" in plain
    parsed = re.compile(r"Of 280 responses (\d+) parsed")
    assert parsed.search(usual)[1] == parsed.search(plain)[1]


def test_the_teachers_are_those_of_the_run(text):
    settings = changed(teachers=CONFIG["teachers"][::-1])
    assert "they are Kimi-VL-A3B-Thinking-2506 (miniature) and GLM" in text(settings=settings)
