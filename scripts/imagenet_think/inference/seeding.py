"""Random numbers of one row: the same in any batch, in any order, after any restart."""

import hashlib

from imagenet_think.core.digests import digest_text


def at_random(decoding: dict) -> bool:
    """Return whether decoding samples; greedy decoding gives the same text for any seed."""
    return bool(decoding.get("temperature")) and decoding.get("top_k") != 1


def row_seed(seed: int, image_id: str, model: str, attempt: int, turn: int = 1) -> int:
    """Return the seed (63 bits) of one row of one model, for one attempt and round."""
    digest = digest_text(str(seed), image_id, model, str(attempt), str(turn))
    return int(digest[:16], 16) >> 1


def bits(seed: int, step: int) -> int:
    """Return the 64 bits, as a signed integer, that determine a row's draw of token `step`."""
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
