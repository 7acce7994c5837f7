"""When a text is outside a metric's domain, and when a mean is marked for such texts.

See `imagenet_think.metrics.domain` for what is counted.
"""

import polars as pl

NO_TOKEN, UNKNOWN, NO_WORD = "no_token", "unknown", "no_word"
REASONS = (NO_TOKEN, UNKNOWN, NO_WORD)
"""Why a text is outside a metric's domain: it has no token; too many of its tokens stand for no
text; too few of its letters and digits are in words that the metric reads."""

UNKNOWN_SHARE = 0.1
"""Share of tokens that stand for no text from which a text is outside the domain. Two such tokens
are alike whatever they replace: the share can be added to a score."""

WORD_SHARE = 0.5
"""Share of letters and digits in words that are read up to which a text is outside the domain."""

MARKED_SHARE = 0.05
"""Share of a mean's images with a text outside the metric's domain from which it is marked."""


def thresholds() -> dict[str, float]:
    """Return from which shares texts are outside a metric's domain, and means are marked."""
    return {"unknown": UNKNOWN_SHARE, "in_words": WORD_SHARE, "images": MARKED_SHARE}


def reason() -> pl.Expr:
    """Return why a text is outside the domain, of `REASONS`, or null, from its counts."""
    return (
        pl.when(pl.col("tokens") == 0)
        .then(pl.lit(NO_TOKEN))
        .when(pl.col("unknown") >= UNKNOWN_SHARE * pl.col("tokens"))
        .then(pl.lit(UNKNOWN))
        .when(pl.col("letters") > 0, pl.col("in_words") <= WORD_SHARE * pl.col("letters"))
        .then(pl.lit(NO_WORD))
    )
