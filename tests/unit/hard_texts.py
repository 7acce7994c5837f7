"""Texts that are hard for metrics: scripts, marks, emoji, code, tables, empty and very long."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

FIXED = {
    "empty": "",
    "white space": " \t\r\n\u00a0\u2003\u3000\u2028\x85\x1c ",
    "punctuation": "... —– ''’\"? !!! (* _ *) §",
    "no token but underscores": "_ __ ___",
    "one word": "bow",
    "one letter": "a",
    "stop words": "The of and a THE not The",
    "plain": "The archer draws the wooden bow. The bow bends, and the archer's arrow is gone.",
    "repeats": "bow " * 70 + "Bow bow, BOW",
    "reversed": "gone is arrow archer's the and bends bow the bow wooden the draws archer the",
    "inflected": "running runs ran runner archery archers ponies pony caresses relational skies",
    "combining marks": "nai\u0308ve naïve cafe\u0301 café \u0301 a\u0301b x\u20dd q\u0307\u0323",
    "Kelvin and Angstrom": "300 \u212a is 300 K is 300 k; 5 \u212bngström; \u212aelvin kelvin",
    "Turkish": "İSTANBUL istanbul ISTANBUL ıstanbul i\u0307stanbul Iğdır İİ",
    "Greek": "ΟΔΥΣΣΕΥΣ ὈΔΥΣΣΕΎΣ Σ ΑΣ. ΑΣΑ ΑΣ' Σ\u0301 οδυσσευς οδυσσευσ ΤΌΞΟ",
    "German": "STRASSE Straße STRAẞE ﬁsch FISCH ﬃ Ǆ ǅ ǆ ŉ",
    "scripts": "弓道 弓 カタカナ ｶﾀ 활을 ᄒ\u1161ᆯ активный ЛУК лук ꭰꮃ Ꭰ",
    "scripts with marks": "قوس القوس قَوْس קֶשֶׁת धनुष् ធ្នូ ธนู",
    "digits": "1,247 ٣٤ ३४ ²³ ½ Ⅳ ⅳ ① １２３ 7 12a 0x1F",
    "full width": "ＢＯＷ ｂｏｗ Ａｒｃｈｅｒ",
    "beyond the plane": "𝐁𝐨𝐰 𝐛𝐨𝐰 𐐀𐐁 𐐨𐐩 𞤀 𞤢 𠀀𠀁 🅰 𝟙𝟚",
    "emoji": "🏹 bow🏹bow 👩🏽‍🚀 🇫🇷 ❤️ 1️⃣ ☺ 🏹🏹",
    "invisible": "bow\u200bbow bow\u200cbow bow\u200dbow bow\u00adbow \ufeffbow bow\x00bow",
    "code": "```python\ndef draw_bow(x_1: int) -> None:\n    return __name__ != 'a' or x_1\n```",
    "table": "| Feature | Score |\n| --- | ---: |\n| **Bow** | 0.97 |\n| Arrow’s tip | n/a |\n",
    "Markdown": "### 1. Bow\n\n- **wooden** bow\n  * [arrow](https://a.b/c?d=e_f)\n> <b>bow</b>",
    "one long word": "bow" * 30_000,
}

# Pieces of all of them, so that generated texts share words, whole or truncated.
PIECES = sorted({piece[:40] for text in FIXED.values() for piece in [*text.split(), *text[:60]]})

TEXTS = st.one_of(
    st.sampled_from(sorted(FIXED.values())),
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(st.sampled_from(FIXED["plain"].split()), max_size=40).map("\n- ".join),
)
"""Texts of every kind except the longest."""

PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6)

WORDS = st.lists(st.text("abcdefghij", min_size=2, max_size=5), min_size=1, max_size=20)
DISJOINT = st.tuples(WORDS.map(" ".join), WORDS.map(lambda words: " ".join(words).upper())).map(
    lambda texts: (texts[0], texts[1].translate(str.maketrans("ABCDEFGHIJ", "klmnopqrst")))
)
"""Two texts of English letters that share no word."""


def fixed_pairs() -> tuple[list[str], list[str]]:
    """Return every fixed text with itself, with the plain one and with the next."""
    texts = list(FIXED.values())
    pairs = [(text, other) for text in texts for other in (text, FIXED["plain"])]
    pairs += pairwise([*texts, texts[0]])
    return tuple(map(list, zip(*pairs, strict=True)))


def long_text(seed: int, *, tokens: int = 200_000, words: int = 5_000) -> str:
    """Return a text of so many tokens, drawn from so many words by Zipf's law."""
    ranks = words ** np.random.default_rng(seed).random(tokens)
    return " ".join(f"w{rank}" for rank in ranks.astype(int).tolist())
