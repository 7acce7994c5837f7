import ast
import math
import re
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pretended_runs import ROOT

from imagenet_think.core import numbers
from imagenet_think.core.numbers import as_text, rounded

CODE = sorted((ROOT / "scripts").rglob("*.py"))
OWN = ROOT / "scripts" / "imagenet_think" / "core" / "numbers.py"
FORM = re.compile(r"\.\d*\{?\w*\}?[fge%]|[fgeG]$")
"""A format, of an f-string or of `%`, that rounds."""


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (42.5, ",.0f", "43"),
        (117.5, ",.0f", "118"),
        (0.0005, ".3f", "0.001"),
        (2.675, ".2f", "2.68"),  # in binary slightly below
        (-0.0005, ".3f", "−0.001"),
        (-0.0004, ".3f", "0.000"),
        (0.0, "+.3f", "+0.000"),
        (-1234.5, "+,.0f", "−1,235"),
        (0.0005, ".1%", "0.1%"),
        (0.99995, ".2%", "100.00%"),
        (0.12345, ",.4g", "0.1235"),
        (100.0, ",.4g", "100"),
        (1.25e-7, ".1e", "1.3e−07"),
        (1234567, ",d", "1,234,567"),
        (-3, "d", "−3"),
        (7, ",.1f", "7.0"),
        (math.inf, ".1f", "inf"),
        (math.nan, ".1f", "–"),
        (None, ",d", "–"),
    ],
)
def test_numbers_as_text(value, form, text):
    assert as_text(value, form) == text


@given(st.floats(-1e8, 1e8), st.integers(0, 6))
def test_rounding_is_that_of_decimal_numbers(value, places):
    exact = Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    text = as_text(value, f",.{places}f")
    assert Decimal(text.replace(",", "").replace(numbers.MINUS, "-")) == exact
    assert rounded(value, f".{places}f") == float(exact)
    assert text.strip("0.,−") or not text.startswith(numbers.MINUS)


def test_medians_of_halves_keep_a_decimal_and_settings_all_digits():
    assert [numbers.median(value) for value in (42.5, 42.0, 1117.5, None)] == [
        *("42.5", "42", "1,117.5", "–")
    ]
    assert [numbers.percent(level) for level in (0.95, 0.975, 0.575)] == ["95%", "97.5%", "57.5%"]
    assert [numbers.setting(value) for value in (0.1, 250_000, 1e-6)] == ["0.1", "250,000", "1e−06"]


def rounds(node):
    """Return whether a piece of code rounds a number to text by itself."""
    if isinstance(node, ast.FormattedValue) and node.format_spec:
        return bool(FORM.search(ast.unparse(node.format_spec)[2:-1]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "format"
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and bool(re.search(r"%[+,]?\.\d[fge]|\{:[+,]*\.\d[fge%]\}", node.value))
    )


def test_no_other_code_rounds_for_people():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in CODE
        if path != OWN
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if rounds(node)
    ]
    assert found == []
    for code in ('f"{x:.1f}"', 'f"{x:,.{n}f}"', 'f"{x:g}"', "format(x, f)", '"%.2f" % x'):
        assert any(map(rounds, ast.walk(ast.parse(code)))), code
    for code in ('f"{x:,}"', 'f"{x:05d}"', 'f"{x}"', '"{}".format(x)', 'f"{d:%H:%M}"'):
        assert not any(map(rounds, ast.walk(ast.parse(code)))), code


def test_no_template_rounds_for_people():
    """Except the lengths of bars, which are read by browsers."""
    for path in [*(ROOT / "scripts").rglob("*.html"), *(ROOT / "scripts").rglob("*.md")]:
        text = re.sub(r'style="[^"]*"[^"]*"[^"]*"', "", path.read_text(encoding="utf-8"))
        assert not re.search(r"%[.\d]*f\"\|format|\|round|\{:[^}]*f\}", text), path
