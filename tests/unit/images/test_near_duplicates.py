import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import photo

from imagenet_think.images.near_duplicates import NearDuplicates, Repetitions, perceptual_hash
from imagenet_think.images.rejections import RejectionError

HASHES = st.integers(0, 2**64 - 1)


@st.composite
def crowds(draw):
    """Hashes of which many lie a few bits from each other."""
    centres = draw(st.lists(HASHES, min_size=1, max_size=4))
    crowd = []
    for _ in range(draw(st.integers(1, 40))):
        value = draw(st.sampled_from(centres))
        for bit in draw(st.lists(st.integers(0, 63), max_size=6)):
            value ^= 1 << bit
        crowd.append(value)
    return crowd


def brute_force(hashes, radius):
    kept, found = [], []
    for index, value in enumerate(hashes):
        near = [k for k in kept if (hashes[k] ^ value).bit_count() <= radius]
        found.append((str(near[0]), (hashes[near[0]] ^ value).bit_count()) if near else None)
        if not near:
            kept.append(index)
    return found


@given(crowds(), st.integers(0, 9))
def test_search_is_exact(hashes, radius):
    looks, found = NearDuplicates(radius), []
    for index, value in enumerate(hashes):
        found.append(looks.find(value))
        if found[-1] is None:
            looks.add(value, str(index))
    assert found == brute_force(hashes, radius)


@pytest.mark.parametrize("radius", [0, 4, 31, 63])
def test_the_radius_is_inclusive(radius):
    looks = NearDuplicates(radius)
    looks.add(0, "a")
    assert looks.find((1 << radius) - 1) == ("a", radius)
    assert looks.find((1 << (radius + 1)) - 1) is None
    for senseless in (-1, 64):
        with pytest.raises(ValueError, match="near_duplicate_bits"):
            NearDuplicates(senseless)


def test_the_hash_forgives_scale_and_retouching_but_not_another_picture():
    one = photo(1, (320, 300))
    smaller = one.resize((240, 225))
    retouched = one.copy()
    retouched.paste("white", (0, 0, 8, 8))
    value = perceptual_hash(one)
    assert 0 <= value < 2**64
    assert (value ^ perceptual_hash(smaller)).bit_count() <= 4
    assert (value ^ perceptual_hash(retouched)).bit_count() <= 4
    assert (value ^ perceptual_hash(photo(2))).bit_count() > 10


def image(name, value, source="n1.tar"):
    place = {"source": source, "member": f"{name}.JPEG"}
    return {"image_id": name, "perceptual_hash": value, **place}


def test_the_first_of_several_is_kept_and_a_name_is_kept_once():
    kept = Repetitions({"near_duplicate_bits": 1})
    kept.keep(image("a", 0b0))
    with pytest.raises(RejectionError, match="near_duplicate: 1 bits from a"):
        kept.keep(image("b", 0b1))
    # c is near b, which was rejected, and not near a.
    with pytest.raises(RejectionError, match="near_duplicate: 1 bits from b"):
        kept.keep(image("c", 0b11))
    with pytest.raises(RejectionError, match=r"clashing_id: n1\.tar/a\.JPEG is called a too"):
        kept.keep(image("a", 2**60 - 1, source="n2.tar"))


@given(crowds(), st.integers(0, 9), HASHES, st.integers(0, 40))
def test_an_additional_image_brings_none_back(hashes, radius, value, place):
    def kept(rows):
        seen, names = Repetitions({"near_duplicate_bits": radius}), set()
        for name, number in rows:
            with contextlib.suppress(RejectionError):
                seen.keep(image(name, number))
                names.add(name)
        return names

    rows = [(str(index), number) for index, number in enumerate(hashes)]
    more = rows.copy()
    more.insert(place, ("new", value))
    assert kept(more) - {"new"} <= kept(rows)
