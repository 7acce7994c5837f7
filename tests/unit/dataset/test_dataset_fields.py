import pytest

from imagenet_think.core.schemas import DATASET, DATASET_FULL, FAILED, FAILED_FULL
from imagenet_think.dataset.dataset_fields import DESCRIPTIONS, OF_TEACHER, describe

SCHEMAS = {"default": DATASET, "failed": FAILED, "full": DATASET_FULL, "failed, full": FAILED_FULL}


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_column_is_described(name):
    for column in SCHEMAS[name]:
        assert describe(column).endswith(".")
        if column.endswith(("_1", "_2")):
            assert f"teacher {column[-1]}" in describe(column)


def test_nothing_else_is_described():
    columns = {column for schema in SCHEMAS.values() for column in schema}
    assert columns == {*DESCRIPTIONS, *(f"{name}_{k}" for name in OF_TEACHER for k in (1, 2))}


@pytest.mark.parametrize("column", ["unknown", "think", "think_", "think_x", "unknown_1"])
def test_an_unknown_column_is_named(column):
    with pytest.raises(KeyError, match=rf"{column}: say what this column holds"):
        describe(column)
