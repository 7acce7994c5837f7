"""Digests of texts, settings and files."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path


def framed(*parts: str) -> bytes:
    """Return several strings as bytes, each preceded by its length in bytes."""
    encoded = [part.encode("utf-8") for part in parts]
    return b"".join(b"%d:%b" % (len(data), data) for data in encoded)


def digest_text(*parts: str) -> str:
    """Return the SHA-256 (hex) of several strings."""
    return hashlib.sha256(framed(*parts)).hexdigest()


def digest_settings(settings: object) -> str:
    """Return the SHA-256 (hex) of a JSON value, the same for any order of its keys."""
    return digest_text(json.dumps(settings, sort_keys=True, ensure_ascii=False))


def digest_files(paths: Iterable[str | Path]) -> str:
    """Return the SHA-256 (hex) of files by name and content, in name order.

    This is the revision of a model in a local folder.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(p) for p in paths):
        with path.open("rb") as file:
            digest.update(f"{path.name}:{os.fstat(file.fileno()).st_size}:".encode())
            hashlib.file_digest(file, lambda: digest)  # a weights file does not fit into memory
    return digest.hexdigest()
