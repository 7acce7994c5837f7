import re
from html import unescape

import jinja2
import pytest
from docutils.core import publish_parts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from latex_documents import compile_latex
from markdown_it import MarkdownIt

from imagenet_think.report import escaping

SPECIALS = r"_%&#{}\~^|<>$" + "\"'`-[]*!"
TEXTS = st.text(alphabet=st.one_of(st.sampled_from(SPECIALS + " ab1,"), st.characters()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50% & more_#1", r"50\% \& more\_\#1"),
        ("{a}\\b", r"\{a\}\textbackslash{}b"),
        ("~x^2", r"\textasciitilde{}x\textasciicircum{}2"),
        ("|z| < $1 > 0", r"\textbar{}z\textbar{} \textless{} \$1 \textgreater{} 0"),
        ("naïve Čapek", r"na\"{i}ve \v{C}apek"),
        ("ﬁ 弓 😀", "U+FB01 U+5F13 U+1F600"),
        ("1–2 ± 3", r"1\textendash{}2 $\pm$ 3"),
        ("--- ''", "-{}-{}- '{}'"),
        ("[0, 1]", "{[}0, 1]"),
        ("* a", "{*} a"),
        ("a\n\t b\x00", "a bU+0000"),
        ("e\u0301", r"\'{e}"),
        ("q\u0301", "qU+0301"),
    ],
)
def test_latex_by_hand(text, expected):
    assert escaping.latex(text) == expected


@given(TEXTS)
@example(SPECIALS)
def test_latex_is_ascii_balanced_and_without_bare_specials(text):
    escaped = escaping.latex(text)
    assert escaped.isascii()
    assert "\n" not in escaped
    # What is left once commands, escaped characters and the few formulas are taken out.
    rest = re.sub(r"\$(-|\\[a-z]+)\$", "", escaped)
    rest = re.sub(r"\\[a-zA-Z]+|\\[^a-zA-Z]", "", rest)
    assert rest.count("{") == rest.count("}")
    assert not set(rest) & set('_%&#\\^|<>$"`')
    assert "--" not in escaped


def plain(html):
    """Return the text of rendered HTML."""
    return unescape(re.sub(r"<[^>]+>", "", html)).strip()


PARSER = MarkdownIt("commonmark").enable("table")


@settings(deadline=None)
@given(TEXTS)
@example(SPECIALS)
@example("a\\|b | c")
@example("https://example.org <b>bold</b> &amp; ![i](j) `x` **y** __z__")
def test_markdown_prints_the_text_in_a_table_s_cell(text):
    cell = escaping.markdown(text)
    html = PARSER.render(f"| head | next |\n| --- | --- |\n| x{cell}x | last |\n")
    cells = re.findall(r"<td>(.*?)</td>", html, flags=re.DOTALL)
    assert len(cells) == 2
    shown = plain(f"<p>{cells[0]}</p>")
    assert shown == f"x{escaping._one_line(text)}x"
    assert plain(cells[1]) == "last"


@given(TEXTS)
def test_markdown_prints_the_text_in_a_sentence(text):
    shown = plain(PARSER.render(f"A {escaping.markdown(text)} z"))
    line = f"A {escaping._one_line(text)} z"
    assert shown in (line, re.sub(" +", " ", line))


def test_spelled_text_is_what_is_printed():
    assert escaping.spelled("Čapek\t弓 & \x00") == "Čapek U+5F13 & U+0000"
    assert escaping.spelled("a\r\n b\u2028c") == "a b c"
    assert escaping.spelled("\x07\ud800") == "U+0007U+D800"


def test_latex_compiles(tmp_path):
    accents = "ÀÉÎÕÜÅÇŠŁØÆŒßĐÐÞıāăȧőę"
    odd = "–—−‘’“”…•°§±×·≤≥≠≈→∞µ²³€£©\u00a0\u00ad 弓 😀 \x01"
    texts = (SPECIALS * 2, accents, odd, "---, ,,''")
    compile_latex(tmp_path, *(f"{escaping.latex(text)}\\\\" for text in texts))


def test_a_word_longer_than_a_line_may_be_broken():
    assert escaping.latex("bow" * 14).count(r"\allowbreak{}") == 5
    assert escaping.latex("bow" * 14).replace(r"\allowbreak{}", "") == "bow" * 14
    assert escaping.latex("\u5f13\u9053") == r"U+5F13\allowbreak{}U+9053"


HOSTILE_RST = [
    "`x <javascript:alert(1)>`_ *a* **b** |c| d_ _`e` [1]_ [#]_ ``f``",
    ".. raw:: html\n\n   <script>alert(1)</script>",
    ":raw:`<b>` http://example.org a@example.org 'q' <b>",
    "{{ snakemake.config }} {% for x in y %} {# z #}",
    "- * + \u2022 1. (a) :f: --option | line >>> a",
    "\u2022 a \\ b",
    "a::",
    "",
]


@settings(deadline=None)
@given(st.one_of(st.sampled_from(HOSTILE_RST), TEXTS))
def test_a_caption_in_a_report_prints_any_text(text):
    """Snakemake renders a caption as a template of Jinja, then as reStructuredText."""
    shown = escaping._one_line(text).strip()
    caption = jinja2.Environment().from_string(f"- A {escaping.rst(text)}").render()
    page = publish_parts(caption, writer="html")["body"]
    assert set(re.findall(r"<(\w+)", page)) <= {"ul", "li", "p"}
    assert plain(page).split() == ["A", *shown.split()]
