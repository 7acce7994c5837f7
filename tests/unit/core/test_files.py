import polars as pl
import pytest
from disks import run_again_as_root, small_disk

from imagenet_think.core.files import write_parquet

SCHEMA = pl.Schema({"text": pl.String})


def test_a_full_disk_is_said_with_the_file_and_leaves_what_stood_there(tmp_path, request):
    if run_again_as_root(request):
        return
    noise = pl.DataFrame({"text": [str(hash((i, j)))[1:] for i in range(400) for j in range(100)]})
    with small_disk(tmp_path / "disk", "128k") as disk:
        write_parquet(noise.head(10), disk / "rows.parquet", SCHEMA)
        with pytest.raises(OSError, match=r"rows\.parquet cannot be written: .*No space left"):
            write_parquet(noise, disk / "rows.parquet", SCHEMA)
        assert [path.name for path in disk.iterdir()] == ["rows.parquet"]
        assert pl.read_parquet(disk / "rows.parquet").equals(noise.head(10))
