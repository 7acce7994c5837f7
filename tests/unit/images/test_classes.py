import re

import polars as pl
import pytest

from imagenet_think.core.schemas import CLASSES
from imagenet_think.images.classes import counted, read_classes

HEADER = "wnid\tlemmas\tdomain\thypernym"


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_column_is_text_as_it_stands(tmp_path):
    path = write(tmp_path / "classes.tsv", HEADER, '007\t"bow", bows\t1e3\t', "n2\tb\tfood\tn1")
    expected = [("007", '"bow", bows', "1e3", None), ("n2", "b", "food", "n1")]
    assert read_classes(path).rows() == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["wnid,lemmas,domain,hypernym", "n1,a,food,n0"], "columns missing: wnid, lemmas"),
        (["wnid\tlemmas\tdomain", "n1\ta\tfood"], "columns missing: hypernym;"),
        ([HEADER, "n1\ta\tfood\tn0", "", "n2\ta\tfood\tn0"], "line 3 names no class"),
        (
            [HEADER, *(f"{wnid}\ta\tfood\tn0" for wnid in ("n2", "n1", "n2", "n3", "n1"))],
            "classes listed more than once: n2, n1",
        ),
    ],
)
def test_what_is_no_list_of_classes_is_refused(tmp_path, lines, message):
    path = write(tmp_path / "classes.tsv", *lines)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
        read_classes(path)


def test_images_are_counted_in_the_order_of_the_list(tmp_path):
    lines = [f"{wnid}\t{wnid} of any\tfood\tn0" for wnid in ("n3", "n1", "n2")]
    classes = read_classes(write(tmp_path / "classes.tsv", HEADER, *lines))
    found = pl.DataFrame({"wnid": ["n2", "n3"], "available": pl.Series([7, 1], dtype=pl.UInt32)})
    index = counted(classes, found)
    assert index.schema == CLASSES
    rows = index.select("wnid", "class_index", "available").rows()
    assert rows == [("n3", 0, 1), ("n1", 1, 0), ("n2", 2, 7)]
