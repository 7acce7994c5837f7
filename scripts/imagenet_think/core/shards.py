"""Blocks and shards: an image's rows are assigned to them only by its image_id."""

import hashlib

DIGITS = 16

PER_SHARD = 4096
"""Images in a shard at most, about, if the config does not say how many shards there are."""


def _check(blocks: int, shards_per_block: int) -> None:
    for name, value in (("blocks", blocks), ("shards_per_block", shards_per_block)):
        if not 1 <= value <= DIGITS:
            raise ValueError(f"sharding.{name}: {value} is not between 1 and {DIGITS}")


def for_images(count: int) -> dict[str, int]:
    """Return `blocks` and `shards_per_block` for a number of images: few shards for few images.

    250,000 images have 16 blocks of 4 shards, up to 4,096 a single shard.
    """
    shards = 1
    while count > shards * PER_SHARD and shards < DIGITS**2:
        shards *= 2
    blocks = min(shards, DIGITS)
    return {"blocks": blocks, "shards_per_block": shards // blocks}


def blocks(blocks: int, shards_per_block: int) -> list[str]:
    """Return the names of the blocks, `0` to `f` where there are 16."""
    _check(blocks, shards_per_block)
    return [f"{block:x}" for block in range(blocks)]


def names(blocks: int, shards_per_block: int) -> list[str]:
    """Return the names of the shards in order: the block's digit, then the shard's."""
    _check(blocks, shards_per_block)
    return [f"{block:x}{shard:x}" for block in range(blocks) for shard in range(shards_per_block)]


def shard_of(image_id: str, blocks: int, shards_per_block: int) -> str:
    """Return the name of an image's shard.

    The first hex digit of the SHA-256 of the image_id, scaled to the number of blocks, is the
    block; the second, scaled to `shards_per_block`, the shard in it. So adding images moves none.
    There may be 1 to 16 of each; powers of two give equal shares.
    """
    _check(blocks, shards_per_block)
    first, second = (
        int(digit, DIGITS) for digit in hashlib.sha256(image_id.encode()).hexdigest()[:2]
    )
    return f"{first * blocks // DIGITS:x}{second * shards_per_block // DIGITS:x}"
