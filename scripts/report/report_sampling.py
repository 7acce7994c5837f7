"""Show the sample and the rejected images on a page, to judge the criteria visually."""

import base64
import heapq
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from imagenet_think.core.files import write_text
from imagenet_think.core.hash_order import order_key
from imagenet_think.core.job import start_job
from imagenet_think.core.logs import logger
from imagenet_think.core.settings import Values
from imagenet_think.core.templates import html_template
from imagenet_think.core.wording import series
from imagenet_think.images import sources
from imagenet_think.images.criteria import REASONS, applied, by_user, rules
from imagenet_think.images.near_duplicates import twin
from imagenet_think.images.preparation import decode
from imagenet_think.images.rejections import RejectionError
from imagenet_think.report.image_summary import COLUMNS as TABLE_2
from imagenet_think.report.image_summary import summarize

PER_SHEET = 20
"""Images on a contact sheet."""

THUMBNAIL = {"longest_side": 240, "jpeg_quality": 85}
CHOSEN = "chosen"
SEEN = ("image_id", "source", "member", "rank", "reason")
BINS = 24
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)

Place = tuple[str, str]  # source, member


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: its label, its number, and its length relative to the longest."""

    label: str
    count: int
    share: float
    note: str = ""


class Tile(NamedTuple):
    """One image of a contact sheet, with the image that it duplicates if it is a near-duplicate.

    `pictures` are pairs of a data URI and "", or of "" and the reason why there is no image.
    """

    image_id: str
    place: str
    detail: str
    pictures: list[tuple[str, str]]


def report_sampling(
    sample: str | Path,
    exclusions: str | Path,
    classes: str | Path,
    candidates: Sequence[str | Path],
    catalogues: Sequence[str | Path],
    template: str | Path,
    output: str | Path,
    *,
    run: str,
    seed: int,
    images: Values,
) -> None:
    """Write the page: one HTML file that loads nothing and is the same for the same inputs.

    Parameters
    ----------
    sample, exclusions, classes
        Outputs of `sample_images`.
    candidates, catalogues
        Files of all groups; the candidates' images are not read.
    template, output
        The page's Jinja template, and HTML to write.
    run, seed
        The run's name and seed; the seed chooses which images a sheet shows.
    images
        From `images` of the config: `criteria`, and `source`, from which only the images of the
        sheets are read again (OSError if it no longer exists).
    """
    chosen = pl.read_parquet(sample)
    excluded = pl.read_parquet(exclusions)
    index = pl.read_parquet(classes)
    seen = pl.scan_parquet(list(map(Path, candidates))).select(*SEEN).collect()
    shown = choose(excluded, seed) | choose(chosen.with_columns(reason=pl.lit(CHOSEN)), seed)
    sheets = contact_sheets(shown, seen, catalogues, images)
    counts = dict(excluded["reason"].value_counts().rows())
    table_2 = summarize(chosen).row(0, named=True)
    write_text(
        html_template(template).render(
            run=run,
            seed=seed,
            table_2=[
                (column.heading, format(table_2[column.name], column.format))
                for column in TABLE_2
                if column.printed
            ],
            funnel=_funnel(index, seen, excluded, chosen),
            a_class=_a_class(chosen),
            domains=_domains(chosen),
            sizes=_sizes(chosen),
            shorter_side=histogram(chosen.select(pl.min_horizontal("width", "height")).to_series()),
            strata=_strata(chosen),
            reasons=_bars((r, counts.get(r, 0), text) for r, text in REASONS.items()),
            sheets=[
                (reason, REASONS.get(reason, "for comparison"), counts.get(reason), sheets[reason])
                for reason in (*REASONS, CHOSEN)
                if reason in sheets
            ],
            rules=rules(images["criteria"]),
            added=series(by_user(images["criteria"])),
            per_sheet=PER_SHEET,
            rejected=len(excluded),
        ),
        output,
    )
    logger.info("%s: %s", output, {reason: len(tiles) for reason, tiles in sheets.items()})


# Contact sheets ----------------------------------------------------------------------------------


def choose(rows: pl.DataFrame, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Choose the images of each sheet: the first `PER_SHEET` of each reason in keyed-hash order.

    The columns of `rows` are wnid, source, member and reason, and detail of rejected images.
    """

    def place(row: dict[str, Any]) -> bytes:
        return order_key(seed, row["wnid"] or "", row["source"], row["member"] or "")

    return {
        reason: heapq.nsmallest(PER_SHEET, group.iter_rows(named=True), key=place)
        for (reason,), group in rows.sort("source", "member").group_by(
            "reason", maintain_order=True
        )
    }


def contact_sheets(
    shown: Mapping[str, list[dict[str, Any]]],
    seen: pl.DataFrame,
    catalogues: Sequence[str | Path],
    images: Values,
) -> dict[str, list[Tile]]:
    """Return the tiles of each sheet, with images read from the source again.

    `shown` has the rows of each reason, from `choose`; duplicated images are found in `seen`, the
    candidates with columns `SEEN`.
    """
    layout = sources.get_sampled(images["source"]["kind"])
    twins = {twin(row["detail"]) for row in shown.get("near_duplicate", [])}
    named = (
        seen.filter(pl.col("image_id").is_in(sorted(twins)))
        .sort("reason", "source", "member", nulls_last=False)  # prefer an accepted one
        .unique("image_id", keep="first", maintain_order=True)
    )
    twin_place = {row[0]: row[1:] for row in named.select("image_id", "source", "member").rows()}

    places = {(row["source"], row["member"]) for rows in shown.values() for row in rows}
    pictures = _read(places | set(twin_place.values()), catalogues, images)

    def tile(row: dict[str, Any]) -> Tile:
        member = row["member"]
        own = pictures[row["source"], member]
        detail = row.get("detail") or ""
        other = twin_place.get(twin(detail)) if row["reason"] == "near_duplicate" else None
        return Tile(
            image_id=layout.image_id(member) if member else "",
            place=f"{row['source']}/{member or ''}",
            detail=detail,
            pictures=[own, pictures[other]] if other else [own],
        )

    return {reason: [tile(row) for row in rows] for reason, rows in shown.items()}


def _read(
    places: set[Place], catalogues: Sequence[str | Path], images: Values
) -> dict[Place, tuple[str, str]]:
    """Return for each place a thumbnail as data URI and "", or "" and why there is none."""
    wanted = pl.DataFrame(
        sorted(place for place in places if place[1] is not None),
        schema={"source": pl.String, "member": pl.String},
        orient="row",
    )
    found = (
        pl.scan_parquet(list(map(Path, catalogues)))
        .select("source", "member", "offset", "bytes")
        .join(wanted.lazy(), on=["source", "member"], how="semi")
        .collect(engine="streaming")
        .sort("source", "offset")
        .unique(["source", "member"], keep="first", maintain_order=True)
    )
    pictures = dict.fromkeys(places, ("", "no member of the source"))
    layout = sources.get_sampled(images["source"]["kind"])
    for row, read in layout.read(found.iter_rows(named=True), Path(images["source"]["path"])):
        place = row["source"], row["member"]
        try:
            data = read(row["member"], row["offset"], row["bytes"])
            pictures[place] = thumbnail(data, images["criteria"]), ""
        except RejectionError as rejection:
            pictures[place] = "", f"cannot be shown: {rejection.reason}"
    return pictures


def thumbnail(data: bytes, criteria: Mapping[str, Any]) -> str:
    """Return an image of any format as a small JPEG in a data URI, or raise `RejectionError`."""
    bounds = {each.threshold: bound for each, bound in applied(criteria, "decoding")}
    image = decode(data, bounds, THUMBNAIL, intact=False).image
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=THUMBNAIL["jpeg_quality"])
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


# Numbers -----------------------------------------------------------------------------------------


def _funnel(
    index: pl.DataFrame, seen: pl.DataFrame, excluded: pl.DataFrame, images: pl.DataFrame
) -> list[Bar]:
    """Count the images that pass each step, from the archives to the sample."""
    ranked = seen.filter(pl.col("rank").is_not_null())
    return _bars(
        [
            ("readable in the source", int(index["available"].sum()), ""),
            ("examined", len(ranked), "until each class had enough candidates"),
            ("met every criterion", len(seen) - len(excluded), "and are not near-duplicates"),
            ("chosen", len(images), ""),
        ]
    )


def _domains(images: pl.DataFrame) -> list[Bar]:
    rows = (
        images.group_by("domain")
        .agg(pl.len(), pl.col("wnid").n_unique().alias("classes"))
        .sort(["len", "domain"], descending=[True, False])
    )
    return _bars(
        (domain, count, f"{classes:,} class{'' if classes == 1 else 'es'}")
        for domain, count, classes in rows.rows()
    )


def _sizes(images: pl.DataFrame) -> list[tuple[str, list[str]]]:
    """Return quantiles of the images' sizes after and before preparation, and of complexity."""
    columns = {
        "width, prepared (pixels)": images["width"],
        "height, prepared (pixels)": images["height"],
        "file in the source (bytes)": images["source_bytes"],
        "complexity (spatial information)": images["complexity"],
    }
    return [
        (name, [f"{values.quantile(q, 'nearest') or 0:,.0f}" for q in QUANTILES])
        for name, values in columns.items()
    ]


def _strata(images: pl.DataFrame) -> list[tuple[int, int, list[Bar]]]:
    """Return a histogram of complexity for each stratum, all with the same bins."""
    edges = np.histogram_bin_edges(images["complexity"], BINS)
    return [
        (stratum, len(rows), histogram(rows["complexity"], edges))
        for (stratum,), rows in images.sort("complexity_stratum").group_by(
            "complexity_stratum", maintain_order=True
        )
    ]


def _bars(rows: Iterable[tuple[str, int, str]]) -> list[Bar]:
    rows = list(rows)
    longest = max((count for _, count, _ in rows), default=0) or 1
    return [Bar(label, count, count / longest, note) for label, count, note in rows]


def _a_class(images: pl.DataFrame) -> list[Bar]:
    """Count classes by their number of images, in ascending order."""
    counts = images.group_by("wnid").len("images")["images"].value_counts().sort("images")
    return _bars((f"{n} images", classes, "") for n, classes in counts.rows())


def histogram(values: pl.Series, bins: int | np.ndarray = BINS) -> list[Bar]:
    """Count values by bin, given the bins' edges or a number of bins of equal width."""
    counts, edges = np.histogram(values, bins)
    labels = [f"{low:,.0f} to {high:,.0f}" for low, high in pairwise(edges)]
    return _bars(zip(labels, counts.tolist(), [""] * len(counts), strict=True))


if __name__ == "__main__":
    snakemake = start_job()
    report_sampling(
        snakemake.input.sample,
        snakemake.input.exclusions,
        snakemake.input.classes,
        snakemake.input.candidates,
        snakemake.input.catalogues,
        snakemake.input.template,
        snakemake.output[0],
        **json.loads(snakemake.params.settings),
    )
