"""Which files a path of the config means."""

import glob
from pathlib import Path


def parquet_files(path: str) -> list[str]:
    """Return the parquet files that a path means, in name order.

    Parameters
    ----------
    path
        A file, a folder (with all inside, at any depth), or a pattern with `*`, `?` and `**`.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    place = Path(path)
    if place.is_file():
        return [path]
    pattern = str(Path(glob.escape(path)) / "**" / "*.parquet") if place.is_dir() else path
    files = sorted(file for file in glob.glob(pattern, recursive=True) if Path(file).is_file())
    if not files:
        raise FileNotFoundError(f"{path}: no parquet file is there")
    return files
