"""A cache of digests, which makes planning fast. It may be deleted at any time."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from imagenet_think.core.digests import digest_settings

Value = TypeVar("Value", bound=Any)


class DigestCache:
    """JSON values by a key that identifies everything they depend on.

    The file has a digest of its values. If it is missing or damaged, or has no digest (as those of
    earlier versions), it counts as empty, and is replaced.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._used: dict[str, Any] = {}

    @cached_property
    def _known(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            known = json.loads(self.path.read_text(encoding="utf-8"))
            if isinstance(known, dict) and known.keys() == {"digest", "values"}:
                values = known["values"]
                if isinstance(values, dict) and known["digest"] == digest_settings(values):
                    return values
        return {}

    def get(self, key: str, compute: Callable[[], Value]) -> Value:
        """Return the value of a key; compute it if it is unknown."""
        if key not in self._used:
            self._used[key] = self._known[key] if key in self._known else compute()
        return self._used[key]

    def save(self, keep: bool = False) -> None:
        """Write the values that were used, if any is new; drop or keep the others."""
        if not self._used or self._used.keys() <= self._known.keys():
            return
        # Imports polars, which planning does not need.
        from imagenet_think.core.files import atomic_path

        written = {**self._known, **self._used} if keep else dict(self._used)
        held = {"digest": digest_settings(written), "values": written}
        # On a full disk it is possible to plan all the same, and to ask for the run's status.
        with suppress(OSError), atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(held), encoding="utf-8")
        self._known = written
