import pytest

from imagenet_think.dataset.dataset_fields import DESCRIPTIONS, OF_TEACHER, describe
from imagenet_think.dataset.hub_files import schemas

COLUMNS = {name for full in (False, True) for own in schemas(full).values() for name in own}


def test_every_column_is_described():
    for column in COLUMNS:
        assert describe(column).endswith(".")
        if column.endswith(("_1", "_2")):
            assert f"teacher {column[-1]}" in describe(column)


def test_nothing_else_is_described():
    assert {*DESCRIPTIONS, *(f"{name}_{k}" for name in OF_TEACHER for k in (1, 2))} == COLUMNS


@pytest.mark.parametrize("column", ["unknown", "think", "think_", "think_x", "unknown_1"])
def test_an_unknown_column_is_named(column):
    with pytest.raises(KeyError, match=rf"{column}: describe this column"):
        describe(column)
