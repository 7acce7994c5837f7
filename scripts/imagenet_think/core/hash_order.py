"""The keyed-hash order: a random order that depends only on the seed and on each item."""

from hashlib import blake2b

from imagenet_think.core.digests import framed


def order_key(seed: int, *parts: str) -> bytes:
    """Return the sort key of an item in the random order of a seed.

    Unlike with a shuffle, items keep their relative order when others are added or removed. The key
    is the BLAKE2b digest (16 bytes; RFC 7693, keyed by the seed) of the parts of the item's name.
    """
    return blake2b(framed(*parts), key=str(seed).encode(), digest_size=16).digest()


def image_order_key(seed: int, wnid: str, image_id: str) -> bytes:
    """Return the sort key of an image in the random order of its class, for any source layout.

    The image's name within its class decides: the ids of images in folders begin with the class's
    folder, those from archives do not.
    """
    return order_key(seed, wnid, image_id.removeprefix(f"{wnid}/"))
