"""How the word metrics cut a text into tokens: scikit-learn's analyzer, as configured."""

from collections.abc import Callable, Sequence

from sklearn.feature_extraction.text import CountVectorizer


def analyzer(
    token_pattern: str, stop_words: str | Sequence[str] | None
) -> Callable[[str], list[str]]:
    """Return the function that scikit-learn's vectorizers apply to a text.

    Parameters
    ----------
    token_pattern
        Regular expression of a token, matched after lower-casing.
    stop_words
        Words to drop: none, "english" for scikit-learn's list, or a list of one's own.
    """
    words = list(stop_words) if isinstance(stop_words, (list, tuple)) else stop_words
    return CountVectorizer(token_pattern=token_pattern, stop_words=words).build_analyzer()
