import json
import re
from html.parser import HTMLParser

import polars as pl
import pytest
import reviewed
from hypothesis import given
from hypothesis import strategies as st

from imagenet_think.core import schemas
from imagenet_think.parsing.outcomes import STATUSES
from imagenet_think.review.review_page import ReviewedRun, policy
from imagenet_think.review.review_sample import choose, left
from review import review

SEED = 5


COLUMNS = ("image_id", "domain", "status_1", "status_2")


def run(number: int, failures: dict[str, int]) -> pl.DataFrame:
    """Return images of which every n-th failed with a status, by teachers 1 and 2 in turn."""
    rows = []
    for place in range(number):
        ended = ["ok", "ok"]
        for status, every in failures.items():
            if place % every == every - 1:
                ended[place // every % 2] = status
        domain = ("artifact", "artifact", "animal", "plant")[place * 7919 % 4]
        rows.append((f"i{place}", domain, *ended))
    return pl.DataFrame(rows, COLUMNS, orient="row")


IMAGES = run(20_000, {"loop": 97, "cut_off": 389, "no_think": 4001, "error": 19_000})


def strata(rows: pl.DataFrame) -> set[tuple]:
    return {
        (row["domain"], k, row[f"status_{k}"]) for row in rows.iter_rows(named=True) for k in (1, 2)
    }


def test_every_stratum_is_included_and_the_rest_has_the_runs_proportions():
    chosen = choose(IMAGES, SEED, 1000)
    assert len(chosen) == chosen["image_id"].n_unique() == 1000
    assert strata(chosen) == strata(IMAGES)
    assert len(strata(IMAGES)) > 15
    for domain in ("artifact", "animal", "plant"):
        of_run, *shares = ((r["domain"] == domain).mean() for r in (IMAGES, chosen, chosen[:400]))
        assert shares == pytest.approx([of_run] * 2, abs=0.04)
    # About 1.3% of the run failed; more of the sample, but hardly more than the strata require.
    failed = chosen.filter((pl.col("status_1") != "ok") | (pl.col("status_2") != "ok"))
    assert 13 <= len(failed) <= 13 + len(strata(IMAGES))


@given(
    smaller=st.integers(1, 60),
    larger=st.integers(1, 60),
    seed=st.integers(0, 3),
    statuses=st.lists(
        st.tuples(st.sampled_from("ab"), *[st.sampled_from(["ok", "ok", "loop", "error"])] * 2),
        min_size=1,
        max_size=50,
    ),
)
def test_a_larger_number_begins_with_the_smaller(smaller, larger, seed, statuses):
    rows = [(str(place), *columns) for place, columns in enumerate(statuses)]
    images = pl.DataFrame(rows, COLUMNS, orient="row")
    smaller, larger = sorted([smaller, larger])
    few = choose(images, seed, smaller)
    many = choose(images.sample(fraction=1, shuffle=True, seed=1), seed, larger)
    assert few.rows() == many.head(smaller).rows()
    assert len(many) == min(larger, len(images))
    if larger >= len(strata(images)):
        assert strata(many) == strata(images)


def test_common_strata_come_before_rare_ones_and_another_seed_gives_another_sample():
    assert set(choose(IMAGES, SEED, 3)["status_1"]) == {"ok"}
    one, other = (set(choose(IMAGES, seed, 500)["image_id"]) for seed in (1, 2))
    assert len(one & other) < 100


def test_sides_are_balanced_and_stay():
    sides = [left(SEED, f"i{place}") for place in range(2000)]
    assert 900 < sum(sides) < 1100
    assert sides == [left(SEED, f"i{place}") for place in range(2000)]


def test_digests_are_a_chain():
    found = reviewed.items(12)
    short, long = (reviewed.sample(found[:number])["sample"].to_list() for number in (7, 12))
    assert long[:7] == short
    assert len(set(long)) == 12
    assert reviewed.sample(found, run="another")["sample"][0] != long[0]
    found[3]["responses"][1]["text"] += "."
    changed = reviewed.sample(found)["sample"].to_list()
    assert changed[:3] == long[:3]
    assert not set(changed[3:]) & set(long)


class Elements(HTMLParser):
    """The page's elements, as an HTML parser sees them."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=False)
        self.tags, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, text):
        if self.cdata_elem == "script":
            self.scripts[-1] += text


def structure(page: str) -> list[tuple]:
    return [(tag, sorted(attributes)) for tag, attributes in Elements(page).tags if tag != "title"]


def test_no_text_becomes_an_element(tmp_path):
    hostile = reviewed.hostile_items()
    plain = reviewed.items(len(hostile), failures=0)
    pages = [tmp_path / "hostile.html", tmp_path / "plain.html"]
    for path, found in zip(pages, (hostile, plain), strict=True):
        reviewed.write_page(path, found)
    one, other = (structure(path.read_text(encoding="utf-8")) for path in pages)
    assert one == other
    scripts = Elements(pages[0].read_text(encoding="utf-8")).scripts
    content = json.loads(scripts[-2])
    assert [item["lemma"] for item in content["items"]] == [item["lemma"] for item in hostile]
    said = [response["text"] for item in content["items"] for response in item["responses"]]
    assert said == [response["text"] for item in hostile for response in item["responses"]]


def test_only_the_pages_own_script_may_run(tmp_path):
    reviewed.write_page(tmp_path / "page.html", reviewed.items(2))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    tags = Elements(text).tags
    allowed = next(a["content"] for tag, a in tags if a.get("http-equiv"))
    assert allowed.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in allowed
    assert "'none'; form-action 'none'" in allowed
    assert not [a for _, a in tags if any(name.startswith("on") for name in a) or "style" in a]
    links = [a[name] for _, a in tags for name in ("src", "href", "action") if name in a]
    assert links == ["data:,"]
    assert not re.search(r"https?://", text)
    # With one more byte, it is a different script.
    script = reviewed.SOURCES["script"].read_text()
    assert policy("", script) != policy("", script + " ")


KINDS = ("sample", "images", "annotations", "responses")
PARSED = ("think", "answer", "status")


@pytest.fixture
def files(tmp_path):
    """The files of a run of 30 images, some with failures."""
    rows = {kind: [] for kind in KINDS}
    for place, item in enumerate(reviewed.items(30, failures=0.1, seed=3)):
        about = {"image_id": item["id"]}
        rows["sample"].append(about | {key: item[key] for key in ("lemma", "domain", "sha256")})
        data = reviewed.picture(place, 800, 600)
        rows["images"].append(about | {"image": {"bytes": data, "path": None}})
        for model, said in zip(reviewed.TEACHERS, item["responses"], strict=True):
            for kind, columns in (("annotations", PARSED), ("responses", ("text", "error"))):
                own = {key: said[key] for key in columns}
                rows[kind].append(about | {"model": model} | own)
    for name, own in rows.items():
        schema = getattr(schemas, name.upper())
        pl.DataFrame(own, schema=schema).write_parquet(tmp_path / f"{name}.parquet")
    return tmp_path


def make(folder, name="page") -> str:
    """Make a page and return it."""
    sample, *others = (folder / f"{kind}.parquet" for kind in KINDS)
    page = folder / f"{name}.html"
    review(
        *(
            sample,
            *([path] for path in others),
            reviewed.SOURCES,
            page,
            page.with_suffix(".parquet"),
        ),
        run=ReviewedRun(reviewed.RUN, reviewed.PROMPT, reviewed.NAMES),
        seed=SEED,
        images=20,
        longest_side=512,
    )
    return page.read_text(encoding="utf-8")


def test_a_page_shows_a_runs_files(files):
    page = make(files)
    shown = json.loads(Elements(page).scripts[-2])
    listed = pl.read_parquet(files / "page.parquet", schema=schemas.REVIEWED)
    assert [item["id"] for item in shown["items"]] == listed["image_id"].to_list()
    assert len(listed) == 20
    known = {item["id"]: item for item in reviewed.items(30, failures=0.1, seed=3)}
    for item, row in zip(shown["items"], listed.iter_rows(named=True), strict=True):
        assert item["responses"] == known[item["id"]]["responses"]
        assert (item["width"], item["height"]) == (512, 384)
        ended = [response["status"] for response in item["responses"]]
        assert [row["status_1"], row["status_2"]] == ended
        assert (row["left"] is None) == (ended != ["ok", "ok"])
    assert {item["responses"][0]["status"] for item in shown["items"]} <= set(STATUSES)
    assert "&lt;b&gt;this&lt;/b&gt;" in page


def test_the_same_inputs_give_the_same_bytes(files):
    assert make(files) == make(files, "again")
    assert (files / "page.parquet").read_bytes() == (files / "again.parquet").read_bytes()


def test_an_image_without_annotation_is_reported(files):
    path = files / "annotations.parquet"
    rows = pl.read_parquet(path)
    rows.filter((pl.col("image_id") != "n4_4") | (pl.col("model") != "kimi")).write_parquet(path)
    with pytest.raises(ValueError, match=r"annotations of kimi: 1 images .* the first is n4_4"):
        make(files)
