"""What a benchmark table's caption says: definitions, how many images, and what was seen."""

from collections.abc import Mapping, Sequence

import polars as pl

from imagenet_think.repositories import PACKAGE

PAPER_RUN = "paper"
"""Name of the run that follows the paper in images, models and metrics."""

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

TFIDF = {
    "tfidf": "document frequencies counted over the teachers' texts (variant tfidf)",
    "tfidf_pair": "document frequencies counted over the two texts compared (variant tfidf_pair)",
}
"""What `printed_tfidf` may be, in words."""


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
        sentences.append(
            f"BERTScore is the F1 of {_name(bertscore)}, layer {bertscore['layer']}, without idf "
            f"weights and not rescaled, of the first {bertscore['max_tokens']} tokens of a text."
        )
    if "sbert" in metrics:
        sbert = settings["sbert"]
        sentences.append(
            f"Sentence-BERT is the cosine of {_name(sbert)}'s embeddings of the first "
            f"{sbert['max_tokens']} tokens."
        )
    if {"bertscore", "sbert"} & set(metrics):
        sentences.append("Neither is bounded by 0, and neither is clipped.")
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


def counted(aggregates: pl.DataFrame) -> str:
    """Say how many images the means are over, and how many were left out for want of a text."""
    images = f"M = {_range(aggregates['images'])} images"
    if not aggregates["left_out"].sum():
        return f"{images}, none left out."
    return f"{images}, {_range(aggregates['left_out'])} left out because a text is missing."


def seen(aggregates: pl.DataFrame) -> str:
    """Say which share of the tokens the windows held, metric by metric; "" without windows."""
    means = aggregates.group_by("metric", maintain_order=True).agg(
        pl.col("seen", "seen_references").mean()
    )
    shares = [
        f"for {HEADINGS[row['metric']]} {row['seen']:.0%} of a response's tokens and "
        f"{row['seen_references']:.0%} of a teacher's"
        for row in means.drop_nulls().iter_rows(named=True)
    ]
    return f"On average the window held {', '.join(shares)}." if shares else ""


def intervals(settings: Mapping) -> str:
    """Say what the small numbers are."""
    return (
        f"Small: {settings['level']:.0%} intervals from {settings['draws']:,} resamples of the "
        "images."
    )


def _name(section: Mapping) -> str:
    return section["repository"].removeprefix(PACKAGE)


def _tokens(section: Mapping) -> str:
    words = section["stop_words"]
    kept = {None: "stop words kept", "english": "English stop words dropped"}
    stop_words = kept[words] if words is None or words in kept else f"{len(words)} words dropped"
    return f"lower-cased matches of {section['token_pattern']} ({stop_words})"


def _range(counts: pl.Series) -> str:
    """Return one number, or the least and the greatest."""
    low, high = counts.min() or 0, counts.max() or 0
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
