"""Jinja templates."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template


def environment(**options: Any) -> Environment:
    """Return an environment in which a name without a value is an error."""
    return Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options)


def html_template(path: str | Path) -> Template:
    """Return the template of an HTML page, which escapes every value."""
    return environment(autoescape=True).from_string(Path(path).read_text(encoding="utf-8"))
