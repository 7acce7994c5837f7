"""What a table's script has written."""

from pathlib import Path

import polars as pl


def read_table(stem: Path) -> tuple[pl.DataFrame, str, list[list[str]]]:
    """Return a table's csv, its caption as plain text, and the cells of its Markdown.

    The first row of cells is the headings.
    """
    csv = pl.read_csv(f"{stem}.csv", infer_schema_length=None)
    caption, _, head, _, *rows = Path(f"{stem}.md").read_text().splitlines()
    cells = [row.replace("\\", "").removeprefix("| ").removesuffix(" |") for row in [head, *rows]]
    return csv, caption.replace("\\", ""), [row.split(" | ") for row in cells]
