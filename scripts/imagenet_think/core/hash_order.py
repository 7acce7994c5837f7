"""The keyed-hash order: a random order that depends on the seed and on each item alone."""

import hashlib


def order_key(seed: int, *parts: str) -> bytes:
    """Return the place of an item in the random order of a seed; sort by it.

    An item keeps its place relative to all others when items come or go, which no shuffle with a
    random generator promises.

    Parameters
    ----------
    seed
        The run's seed: key of BLAKE2b (RFC 7693, keyed mode).
    parts
        What names the item. Each is preceded by its length.

    Returns
    -------
    bytes
        16 bytes.
    """
    digest = hashlib.blake2b(key=str(seed).encode(), digest_size=16)
    for part in parts:
        data = part.encode("utf-8")
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.digest()


def image_order_key(seed: int, wnid: str, image_id: str) -> bytes:
    """Return the place of an image in the random order of its class, whatever its source's layout.

    What counts is the image's name inside its class: the ids of one's own images begin with the
    class's folder, those from archives do not.
    """
    return order_key(seed, wnid, image_id.removeprefix(f"{wnid}/"))
