"""A cache of digests, which makes planning fast. It may be deleted at any time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value", bound=Any)


class DigestCache:
    """JSON values by a key that identifies everything they depend on.

    Parameters
    ----------
    path
        The file, relative to the working directory. If it cannot be read, it counts as empty and is
        replaced.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._known: dict[str, Any] | None = None
        self._used: dict[str, Any] = {}

    def get(self, key: str, compute: Callable[[], Value]) -> Value:
        """Return the value of a key; compute it if it is unknown."""
        if self._known is None:
            self._known = self._read()
        if key not in self._used:
            self._used[key] = self._known[key] if key in self._known else compute()
        return self._used[key]

    def save(self, keep: bool = False) -> None:
        """Write the values that were used, if any is new; drop or keep the others."""
        if self._known is None or self._used.keys() <= self._known.keys():
            return
        from imagenet_think.core.files import (
            atomic_path,
        )  # imports polars, which planning does not need

        written = {**self._known, **self._used} if keep else dict(self._used)
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(written), encoding="utf-8")
        self._known = written

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # missing or damaged: computed again
            return {}
        return known if isinstance(known, dict) else {}
