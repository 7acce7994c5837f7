"""Escaping of plain text for LaTeX, Markdown and reStructuredText, in tables and captions."""

import re
import unicodedata


def _commands(form: str, pairs: str) -> dict[str, str]:
    """Return LaTeX by character, given characters and their names in turn."""
    words = pairs.split()
    return {
        character: form.format(name)
        for character, name in zip(words[::2], words[1::2], strict=True)
    }


_LATEX = {
    **{character: f"\\{character}" for character in "{}_%&#$"},
    **_commands(
        r"\text{}{{}}",
        '\\ backslash ~ asciitilde ^ asciicircum | bar < less > greater " quotedbl ` asciigrave '
        "– endash — emdash ‘ quoteleft ’ quoteright “ quotedblleft ” quotedblright … ellipsis "
        "• bullet ° degree µ mu ² twosuperior ³ threesuperior € euro £ sterling © copyright",
    ),
    **_commands(
        r"$\{}$",
        "± pm × times · cdot ≤ leq ≥ geq ≠ neq ≈ approx → rightarrow ∞ infty",
    ),
    **_commands(
        r"\{}{{}}",
        "§ S † dag ß ss æ ae Æ AE ø o Ø O œ oe Œ OE ł l Ł L ı i đ dj Đ DJ ð dh Ð DH þ th Þ TH",
    ),
    "−": "$-$",
    # After `\\`, a bare bracket would be read as its optional argument, an asterisk as its star.
    **{character: f"{{{character}}}" for character in "[*"},
    "\u00a0": "~",
    "\u00ad": r"\-",
}

_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
    "\u0328": "k",
}

# Two of these in a row would print as a dash, a quotation mark.
_LIGATURE = re.compile(r"([-,'])(?=\1)")

# Where a word that may be longer than a line can be broken: after each of these.
_LONG_WORD = re.compile(r"\S{40,}")
_PIECE = re.compile(r"\S{8}(?=\S)")
_SPELLED = re.compile(r"U\+[0-9A-F]{4,6}(?=U\+)")

# Punctuation that has a meaning in CommonMark, its tables or GitHub's mathematics.
_MARKDOWN = re.compile(r"[\\`*_\[\]<>&~#$|{}]")

# ASCII punctuation, which may have a meaning in reStructuredText, and its bullets.
_RST = re.compile(r"[!-/:-@\[-`{-~•‣⁃]")


def latex(text: str) -> str:
    r"""Return any text as LaTeX that prints it in a table cell, a caption or running text.

    It is plain ASCII, for a document in T1 encoding (`\usepackage[T1]{fontenc}`). Runs of white
    space become one space, and a very long word may be broken anywhere. A character that Latin
    fonts lack is printed as its code point, `U+4E2D`, which does not stop the compiler.
    """
    line = _LONG_WORD.sub(lambda word: _PIECE.sub("\\g<0>\n", word[0]), _one_line(text))
    escaped = _SPELLED.sub("\\g<0>\n", "".join(map(_latex_character, line)))
    return _LIGATURE.sub(r"\1{}", escaped).replace("\n", r"\allowbreak{}")


def spelled(text: str) -> str:
    """Return `text` as LaTeX prints it: on one line, what Latin fonts lack as its code point."""
    return "".join(
        _code_point(c) if _latex_character(c) == _code_point(c) else c for c in _one_line(text)
    )


def markdown(text: str) -> str:
    """Return `text` as Markdown that prints it, good in running text and in a pipe table's cell.

    Runs of white space become one space; control characters are printed as their code point.
    """
    return _MARKDOWN.sub(r"\\\g<0>", _one_line(text))


def rst(text: str) -> str:
    """Return `text` as reStructuredText that prints it in running text.

    It is also safe in a template of Jinja, which Snakemake makes of the captions in its report.
    Runs of white space become one space, at the ends none.
    """
    return _RST.sub(r"\\\g<0>", _one_line(text).strip())


def _one_line(text: str) -> str:
    """Compose accents, join lines, and spell out what cannot be printed."""
    text = re.sub(r"[ \t\r\n\f\v\x85\u2028\u2029]+", " ", unicodedata.normalize("NFC", text))
    # Cc control, Cs lone surrogates, Cn unassigned.
    return "".join(
        _code_point(c) if unicodedata.category(c) in {"Cc", "Cs", "Cn"} else c for c in text
    )


def _latex_character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character.isascii():
        return character
    decomposed = unicodedata.normalize("NFD", character)
    base, marks = decomposed[0], decomposed[1:]
    if base.isascii() and base.isalpha() and marks in _ACCENTS:
        return f"\\{_ACCENTS[marks]}{{{base}}}"
    return _code_point(character)


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"
