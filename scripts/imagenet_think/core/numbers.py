"""How numbers are printed for people: one rounding and one minus sign.

Files for programs (csv, parquet, JSON) have all digits instead.
"""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal

MINUS = "−"
MISSING = "–"

_DIGITS = re.compile(r"\.(\d+)([fge%])$")
# Enough digits for every float.
_HALF_UP = Context(prec=800, rounding=ROUND_HALF_UP)


def as_text(value: float | None, form: str) -> str:
    """Return a number as text; a dash for None and NaN.

    `form` is a format specification, for example `,.1f`. Halves are rounded away from zero, what
    rounds to zero has no minus sign.
    """
    if value is None or math.isnan(value):
        return MISSING
    return format(rounded(value, form), form).replace("-", MINUS)


def rounded(value: float, form: str) -> float:
    """Return a number as `form` prints it; halves, of its shortest decimals, away from zero."""
    digits = _DIGITS.search(form)
    if isinstance(value, int) or not digits or not math.isfinite(value):
        return value
    number, places, kind = Decimal(repr(float(value))), int(digits[1]), digits[2]
    if kind in "ge":  # significant digits
        places -= number.adjusted() + (kind == "g")
    elif kind == "%":
        places += 2
    return float(_HALF_UP.quantize(number, Decimal(1).scaleb(-places))) + 0.0  # no -0.0


def whole(value: float | None) -> str:
    """Return a number as text without decimals."""
    return as_text(value, ",.0f")


def median(value: float | None) -> str:
    """Return the median of whole numbers as text: a half keeps its decimal."""
    return as_text(value, ",.1f" if value is not None and value % 1 == 0.5 else ",.0f")


def setting(value: float) -> str:
    """Return a number of the config as text, with all its digits."""
    return as_text(value, ",.10g")


def percent(share: float) -> str:
    """Return a share of the config in percent, with all its digits."""
    return f"{setting(100 * share)}%"
