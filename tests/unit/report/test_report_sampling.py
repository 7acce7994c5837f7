import html
import re
from pathlib import Path

import polars as pl
import pytest
from image_stages import SEED, collected, group_files, sampled
from pictures import CRITERIA, bomb, encoded, photo
from PIL import Image
from source_forms import class_tars

from draw_images import FLAWS, draw_images
from imagenet_think.core.schemas import EXCLUSIONS
from imagenet_think.images.rejections import RejectionError
from report_sampling import PER_SHEET, choose, histogram, report_sampling, thumbnail

TEMPLATE = Path(__file__).parents[3] / "scripts" / "report" / "report_sampling.html"
DRAWINGS = 8
FLAWED = dict(enumerate(FLAWS, start=DRAWINGS))  # number of a planted image: its flaw
REASON_OF = {
    "too_small": "too_small",
    "truncated": "undecodable",
    "not_an_image": "not_an_image",
    "blank": "low_contrast",
    "near_duplicate": "near_duplicate",
}


def report(folder, name="report.html", seed=SEED, **changes):
    source = {"kind": "class_tars", "path": str(folder / "source")}
    report_sampling(
        *(folder / f"{name}.parquet" for name in ("sample", "exclusions", "classes")),
        group_files(folder, "candidates"),
        group_files(folder, "catalogue"),
        TEMPLATE,
        folder / name,
        run="<script>alert(1)</script>",
        seed=seed,
        images={"source": source, "criteria": CRITERIA} | changes,
    )
    return (folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Three classes of the miniature, every member examined."""
    folder = tmp_path_factory.mktemp("drawn")
    wnids = ["n02782093", "n03354903", "n09444783"]
    draw_images(folder / "source", wnids, DRAWINGS, SEED)
    limits = {"total": 12, "class_count": 3, "min_per_class": 3, "max_per_class": 6}
    sampled(collected(folder, class_tars(folder / "source"), wnids), **limits)
    return folder


def sheets(page):
    """Return the tiles of each contact sheet, as HTML, by reason."""
    sections = re.findall(r'<h3 id="(\w+)">(.*?)</section>', page, re.DOTALL)
    return {reason: re.findall(r'<li class="tile.*?</li>', body, re.S) for reason, body in sections}


def test_the_sheets_show_only_the_planted_rejects_and_the_twins_of_near_duplicates(drawn):
    tiles = sheets(report(drawn))
    pictures = {
        reason: [tile.count('src="data:image/jpeg;base64,') for tile in shown]
        for reason, shown in tiles.items()
    }
    assert pictures["near_duplicate"] == [2, 2, 2]
    assert pictures["too_small"] == pictures["low_contrast"] == [1, 1, 1]
    assert pictures["undecodable"] == pictures["not_an_image"] == [0, 0, 0]
    assert all("cannot be shown: undecodable" in tile for tile in tiles["undecodable"])
    assert all("bits from n" in tile for tile in tiles["near_duplicate"])
    chosen = tiles.pop("chosen")
    found = {}
    for reason, shown in tiles.items():
        for tile in shown:
            number = int(re.search(r"<b>n\d{8}_(\d+)</b>", tile)[1])
            if reason == "near_duplicate":  # the hash decides which of a pair comes first
                number = max(number, int(re.search(r"bits from n\d{8}_(\d+)", tile)[1]))
            found.setdefault(reason, []).append(number)
    assert found == {REASON_OF[flaw]: [number] * 3 for number, flaw in FLAWED.items()}
    assert len(chosen) == 12


def test_counts_criteria_and_what_is_not_checked_are_named(drawn):
    page = report(drawn, criteria=CRITERIA | {"denied_images": ["a", "b"], "scorer": "mine:judge"})
    for claim in ("occlusion", "copyright", "harmful", "Semantic diversity beyond the classes"):
        assert claim in page
    assert "is one of 2 denied images" in page
    assert "is rejected by the function mine:judge" in page
    assert "; this run sets denied_images and scorer." in page
    rows = re.findall(r'<th scope="row">(.*?)</th>\s*<td class="number">([\d,]+)</td>', page)
    counts = {html.unescape(name): int(count.replace(",", "")) for name, count in rows}
    assert counts["readable in the source"] == 3 * (DRAWINGS + len(FLAWS))
    assert counts["examined"] == 3 * (DRAWINGS + len(FLAWS))
    assert counts["met every criterion"] == 3 * DRAWINGS
    assert counts["chosen"] == counts["food & drink"] == 12
    for reason in REASON_OF.values():
        assert counts[reason] == 3
    assert counts["blurred"] == 0
    assert "<b>4.0</b><span>Avg. samples per class</span>" in page


def test_what_did_not_happen_is_not_claimed(drawn, tmp_path):
    usual = report(drawn)
    assert "; this run sets none of them." in usual
    assert "Each shows what was measured" in usual
    for name in ("sample", "classes"):
        (tmp_path / f"{name}.parquet").write_bytes((drawn / f"{name}.parquet").read_bytes())
    for kind in ("candidates", "catalogue"):
        for path in group_files(drawn, kind):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    excluded = pl.read_parquet(drawn / "exclusions.parquet").clear()
    excluded.write_parquet(tmp_path / "exclusions.parquet")
    page = report(tmp_path, source={"kind": "class_tars", "path": str(drawn / "source")})
    assert "No image was rejected." in page
    assert "Each shows what was measured" not in page
    assert sheets(page).keys() == {"chosen"}


def test_the_page_is_escaped_loads_nothing_and_depends_on_inputs_and_seed(drawn):
    page = report(drawn)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "food &amp; drink" in page
    assert set(re.findall(r'(?:src|href)="(\w+:)', page)) == {"data:"}
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page
    assert report(drawn, "again.html") == page
    assert report(drawn, "again.html", seed=SEED + 1) != page


def test_a_missing_source_is_an_error_with_its_name(drawn, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"n\d{8}\.tar"):
        report(drawn, source={"kind": "class_tars", "path": str(tmp_path)})


def test_hostile_names_and_damaged_archives(tmp_path):
    members = {"bomb.JPEG": bomb(), '"><img src=x onerror=alert(1)>.JPEG': b"no image"}
    members |= {f"n00000001_{k}.JPEG": encoded(photo(k)) for k in range(6)}
    source = class_tars(tmp_path / "source", {"n00000001": members})
    tar = tmp_path / "source" / "n00000001.tar"
    tar.write_bytes(tar.read_bytes()[:-10_240] + b"damage" * 200)
    limits = {"total": 4, "class_count": 1, "min_per_class": 4, "max_per_class": 4}
    sampled(collected(tmp_path, source, ["n00000001"]), **limits)
    page = report(tmp_path)
    assert "<img src=x" not in page
    assert "&#34;&gt;&lt;img src=x" in page
    tiles = sheets(page)
    assert len(tiles["damaged_archive"]) == 1
    assert "no member of the source" in tiles["damaged_archive"][0]
    assert "cannot be shown: too_many_pixels" in tiles["too_many_pixels"][0]


def test_twenty_images_per_reason_are_chosen_by_the_seed():
    rows = [("n1", "n1.tar", f"{k}.JPEG", "blurred", "") for k in range(90)]
    rows += [("n1", "n1.tar", f"s{k}.JPEG", "too_small", "") for k in range(3)]
    frame = pl.DataFrame(rows, schema=EXCLUSIONS, orient="row")
    chosen = choose(frame, 1)
    counts = {reason: len(rows) for reason, rows in chosen.items()}
    assert counts == {"blurred": PER_SHEET, "too_small": 3}
    assert chosen == choose(frame.sample(fraction=1.0, shuffle=True, seed=3), 1)
    assert chosen["blurred"] != choose(frame, 2)["blurred"]
    # From all of them, not from the first.
    assert len({int(row["member"].split(".")[0]) // 30 for row in chosen["blurred"]}) == 3


def test_a_thumbnail_is_small_and_its_bytes_are_new():
    data = encoded(photo(1, (900, 700))) + b"x" * 300_000
    assert len(thumbnail(data, CRITERIA)) < 40_000
    with pytest.raises(RejectionError, match="undecodable"):
        thumbnail(encoded(photo(1))[:-3_000], CRITERIA)
    assert thumbnail(encoded(Image.new("CMYK", (30, 30))), CRITERIA).startswith("data:image/jpeg")


def test_a_histogram_counts_every_value():
    bars = histogram(pl.Series([1.0, 1.0, 5.0, 25.0]))
    assert sum(bar.count for bar in bars) == 4
    assert (bars[0].count, bars[0].share) == (2, 1.0)
    assert sum(bar.count for bar in histogram(pl.Series([3, 3, 3]))) == 3
