"""What a benchmark table's caption says: definitions, how many images, and what was seen."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from imagenet_think.core.model_sources import PACKAGE

OURS = "ImageNet-Think"
"""Name in Table 1 of the paper's own row, and of ours in its place."""

REPORTED, COMPUTED = "reported by the paper", "computed here"
"""Where a row of Table 1 comes from."""

HEADINGS = {
    "bertscore": "BERTScore",
    "sbert": "Sentence-BERT Cosine Similarity",
    "rouge1": "ROUGE-1",
    "rougeL": "ROUGE-L",
    "jaccard": "Jaccard Index",
    "overlap": "Overlap Coefficient",
    "tfidf": "TF-IDF Cosine Similarity",
    "cosine": "Cosine Similarity",
}
"""The printed metrics in the paper's order, named as in its Tables 3 to 6."""

AGGREGATES = {"avg": "Avg.", "max": "Max"}
"""The mean of the two teachers' scores and the higher of them, named as in Tables 3 to 7."""

PARTS = {"full": "Full Output", "think": "Thinking Tokens", "answer": "Answer Tokens"}
"""The parts of a response, named as in the paper's Table 7."""

SHORT_PARTS = {"full": "Full", "think": "Thinking", "answer": "Answer"}

FEW = ("bertscore", "sbert", "rougeL")
"""What is printed where there is no room for all metrics: one of meaning by tokens, one by
sentences, and one of words."""

TFIDF = {
    "tfidf": (
        "document frequencies counted over the references of this run, with which its values "
        "change (variant tfidf)"
    ),
    "tfidf_pair": "document frequencies counted over the two texts compared (variant tfidf_pair)",
}
"""What `printed_tfidf` may be, in words."""

COUNTS = {
    "leave_out": "its image is left out of the model's means",
    "zero": "it scores 0 in every metric",
}
"""What a missing response may count, in words."""

AS_PRINTED = "Metrics are defined in the captions of Tables 3 to 6."


def benchmark(taken: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tables of the benchmark and their captions read of a config.

    Parameters
    ----------
    taken
        The keys of the config that a rule declares: `teachers`, perhaps `benchmarked`, names of
        models, and keys of the section `benchmark`.

    Returns
    -------
    dict
        The section `benchmark`, with `teachers` and `models` (keys) and `names` (by key).
    """
    return {
        **taken["benchmark"],
        "teachers": taken["teachers"],
        "models": taken.get("benchmarked", []),
        "names": {key: own["name"] for key, own in taken["models"].items()},
    }


def printed_metrics(settings: Mapping) -> dict[str, str]:
    """Return the metric that stands for each printed one; `printed_tfidf` for TF-IDF."""
    return {name: settings["printed_tfidf"] if name == "tfidf" else name for name in HEADINGS}


def definitions(metrics: Sequence[str], settings: Mapping) -> str:
    """Say how metrics are defined in this run.

    Parameters
    ----------
    metrics
        Keys of `HEADINGS`.
    settings
        The benchmark's settings: a section for each kind of scores, and `printed_tfidf`.
    """
    sentences = []
    if "bertscore" in metrics:
        bertscore = settings["bertscore"]
        window = bertscore["max_tokens"]
        read = {
            "first": f"the first {window} tokens of a text",
            "all": f"all tokens of a text, read {window} at a time",
        }
        sentences.append(
            f"BERTScore is the F1 of {_name(bertscore)}, layer {bertscore['layer']}, without idf "
            f"weights and not rescaled, of {read[bertscore['windows']]}{_precision(bertscore)}."
        )
    if "sbert" in metrics:
        sbert = settings["sbert"]
        window = sbert["max_tokens"]
        read = {
            "first": f"the first {window} tokens",
            "all": f"all tokens, {window} at a time, averaged by their number",
        }
        sentences.append(
            f"Sentence-BERT is the cosine of {_name(sbert)}'s embeddings of "
            f"{read[sbert['windows']]}{_precision(sbert)}."
        )
    if {"bertscore", "sbert"} & set(metrics):
        sentences.append(
            "Neither is bounded by 0, and neither is clipped, although section 5.3 of the paper "
            "puts every metric in the range from 0 to 1."
        )
    if {"rouge1", "rougeL"} & set(metrics):
        stemmer = "with" if settings["rouge"]["stemmer"] else "without"
        sentences.append(
            f"ROUGE is the F1 of rouge-score {stemmer} stemming, ROUGE-L over the whole text."
        )
    if {"jaccard", "overlap"} & set(metrics):
        sentences.append(f"Sets are of {_tokens(settings['sets'])}.")
    if {"tfidf", "cosine"} & set(metrics):
        sentences.append(
            f"Vectors count {_tokens(settings['vectors'])}; TF-IDF takes "
            f"{TFIDF[settings['printed_tfidf']]}, and Cosine Similarity is of raw counts. The "
            "paper does not say how its two were fitted."
        )
    return " ".join(sentences)


def counted(aggregates: pl.DataFrame, settings: Mapping) -> str:
    """Say how many images the means are over, and what was missing.

    Parameters
    ----------
    aggregates
        Rows of schema `AGGREGATES` over the same images.
    settings
        The benchmark's settings, of which `missing` tells what a missing response counts.
    """
    # Beside the responses that are left out, what is left out lacks a reference.
    responses = aggregates["no_response"] if settings["missing"] == "leave_out" else 0
    references = aggregates["left_out"] - responses
    images = (aggregates["images"] + aggregates["left_out"]).max() or 0
    return (
        f"M = {count_range(aggregates['images'])} of {images:,} images (response missing: "
        f"{count_range(aggregates['no_response'])}; reference missing: {count_range(references)})."
    )


def missing(settings: Mapping) -> str:
    """Say which responses are missing, and what they count."""
    return (
        "A response is missing where it failed or is empty, its thinking and answer also where it "
        f"could not be taken apart: {COUNTS[settings['missing']]}. Images of which a reference is "
        "missing are left out."
    )


def seen(aggregates: pl.DataFrame) -> str:
    """Say what the windows held and how many texts they cut, metric by metric and part by part.

    Without windows it is "".
    """
    columns = ("seen", "seen_references", "cut", "cut_references")
    means = aggregates.group_by("metric", "part", maintain_order=True).agg(pl.col(columns).mean())
    sentences = []
    for (metric,), rows in means.drop_nulls().group_by("metric", maintain_order=True):
        shares = [
            f"{SHORT_PARTS[row['part']].lower()} {row['seen']:.1%} of a response's tokens and "
            f"{row['seen_references']:.1%} of a teacher's ({row['cut']:.1%} and "
            f"{row['cut_references']:.1%} of these texts are cut)"
            for row in rows.iter_rows(named=True)
        ]
        sentences.append(f"The window of {HEADINGS[metric]} holds on average, {'; '.join(shares)}.")
    return " ".join(sentences)


def intervals(settings: Mapping) -> str:
    """Say what the small numbers are."""
    return (
        f"Small: {settings['level']:.0%} intervals from {settings['draws']:,} resamples of the "
        "images; a mean over too few images has none."
    )


def count_range(counts: pl.Series) -> str:
    """Return one number, or the least and the greatest."""
    low, high = counts.min() or 0, counts.max() or 0
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _precision(section: Mapping) -> str:
    """Name the encoder's precision where it is not the full one."""
    names = {"float32": "", "tf32": "TF32", "float16": "half precision (float16)"}
    name = names[section["precision"]]
    return f", computed in {name}" if name else ""


def _name(section: Mapping) -> str:
    return section["repository"].removeprefix(PACKAGE)


def _tokens(section: Mapping) -> str:
    words = section["stop_words"]
    kept = {None: "stop words kept", "english": "English stop words dropped"}
    stop_words = kept[words] if words is None or words in kept else f"{len(words)} words dropped"
    return f"lower-cased matches of {section['token_pattern']} ({stop_words})"
