from imagenet_think.dataset.dataset_fields import DESCRIPTIONS
from imagenet_think.dataset.hub_files import schemas

COLUMNS = {name for full in (False, True) for own in schemas(full).values() for name in own}


def test_every_column_is_described_and_nothing_else():
    assert DESCRIPTIONS.keys() == COLUMNS
    for column, text in DESCRIPTIONS.items():
        assert text.endswith(".")
        if column.endswith(("_1", "_2")):
            assert f"teacher {column[-1]}" in text
