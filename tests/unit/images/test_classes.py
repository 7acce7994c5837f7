import re

import polars as pl
import pytest

from imagenet_think.core.schemas import CLASSES
from imagenet_think.images import class_table, labels
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns missing: wnid, lemmas, domain, hypernym"),
        (HEADER, "the table has no class"),
        (f"{HEADER}\n\n", "the table has no class"),
        (f"{HEADER}\nn1\té\tb\tc\n", "line 2 is not UTF-8; save"),
        (f"{HEADER}\twnid\nn1\ta\tb\tc\tn1\n", "the column wnid appears twice"),
        (f"{HEADER}\nn1\ta\tb\tc\td\n", "line 2 has 5 columns, the first line 4"),
    ],
)
def test_a_broken_table_is_refused_by_every_reader(tmp_path, text, message):
    path = tmp_path / "classes.tsv"
    path.write_bytes(text.encode("latin-1"))
    for read in (read_classes, class_table.class_ids, labels.read):
        with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {message}"):
            read(path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tsv: no such file"):
        read_classes(tmp_path / "nowhere.tsv")


FORMS = {
    "another order": lambda text: "\n".join(
        "\t".join(line.split("\t")[::-1]) for line in text.splitlines()
    ),
    "another column": lambda text: "\n".join(f"{line}\tx" for line in text.splitlines()),
    "Windows": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "empty lines at the end": lambda text: text + "\n\n",
    "short lines": lambda text: text.replace("\tn0\n", "\n"),
    "decomposed": lambda text: text.replace("\u00e9", "e\u0301"),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_table_in_several_forms(tmp_path, form):
    path = tmp_path / "classes.tsv"
    text = f"{HEADER}\ncaf\u00e9\ta, b\tfood\tn0\nn1\tc\tfood\tn0\n"
    path.write_bytes(FORMS[form](text).encode())
    assert class_table.class_ids(path) == ["caf\u00e9", "n1"]
    assert read_classes(path).select("wnid", "lemmas", "domain").rows() == [
        ("caf\u00e9", "a, b", "food"),
        ("n1", "c", "food"),
    ]


def test_images_are_counted_in_the_order_of_the_list(tmp_path):
    lines = [f"{wnid}\t{wnid} of any\tfood\tn0" for wnid in ("n3", "n1", "n2")]
    classes = read_classes(write(tmp_path / "classes.tsv", HEADER, *lines))
    found = pl.DataFrame({"wnid": ["n2", "n3"], "available": pl.Series([7, 1], dtype=pl.UInt32)})
    index = counted(classes, found)
    assert index.schema == CLASSES
    rows = index.select("wnid", "class_index", "available").rows()
    assert rows == [("n3", 0, 1), ("n1", 1, 0), ("n2", 2, 7)]
