"""Checks of a canary's replies: does the model see the images, and does it write text?"""

import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations
from typing import NamedTuple

from imagenet_think.core.numbers import as_text
from imagenet_think.parsing import statuses

SAME_WORDS = 50
"""Texts of different images must differ within this many words."""

LEAST_SHARE = 0.5
"""Least share of texts that are not garbled and, where broken formats stop a run, that parse."""

OWN, BLANK, SWAPPED = "own", "blank", "swapped"


class Defect(NamedTuple):
    """Something wrong with a model: its kind, and a description."""

    kind: str  # refused, image_tokens, blind, alike, swapped, garbled or format
    text: str


@dataclass(frozen=True)
class Reply:
    """A model's response to one canary prompt."""

    image_id: str  # the image that was shown, or whose blank was
    way: str  # `OWN`, `BLANK` or `SWAPPED`
    asked_as: str  # the image under whose key and seed it was generated: a different one if swapped
    text: str | None
    finish_reason: str
    error: str | None
    image_tokens: int  # as the engine counted them
    expected_image_tokens: int  # as the model's processor does
    completion_tokens: int
    status: str  # of parsing the text
    garbled: str | None  # why it is

    @property
    def words(self) -> list[str]:
        """The words of the text."""
        return (self.text or "").split()


Replies = Sequence[Reply]


def judge(replies: Replies, *, greedy: bool) -> list[Defect]:
    """Return what is wrong with a model by its replies; nothing if it sees and writes."""
    # The model may reject a single image: that is a failure of its row, not of the model.
    answered = {reply.image_id for reply in replies if reply.way == OWN and reply.text is not None}
    rejected = [
        reply
        for reply in replies
        if reply.text is None and (reply.image_id in answered or not answered)
    ]
    if rejected:
        return [Defect("refused", f"it cannot be prompted: {rejected[0].error}")]
    replies = [reply for reply in replies if reply.image_id in answered]
    checks = [miscounted, blind, alike, *([unrelated] if greedy else []), garbage]
    return [defect for check in checks for defect in check(replies)]


def miscounted(replies: Replies) -> Iterator[Defect]:
    """Find prompts without the image tokens that the processor inserts."""
    for reply in replies:
        if not reply.image_tokens == reply.expected_image_tokens > 0:
            yield Defect(
                "image_tokens",
                f"{reply.image_id} ({reply.way}) had {reply.image_tokens} image tokens, "
                f"not {reply.expected_image_tokens}",
            )


def blind(replies: Replies) -> Iterator[Defect]:
    """Find images whose text is the same as that of a blank image, or begins the same."""
    blanks = _by_image(replies, BLANK)
    for name, reply in _by_image(replies, OWN).items():
        first, second = reply.words[:SAME_WORDS], blanks[name].words[:SAME_WORDS]
        if reply.text == blanks[name].text or (len(first) == SAME_WORDS and first == second):
            yield Defect("blind", f"its text for {name} is the same as for a blank image")


def alike(replies: Replies) -> Iterator[Defect]:
    """Find pairs of images with the same text."""
    for first, second in combinations(_by_image(replies, OWN).values(), 2):
        if first.text == second.text:
            yield Defect(
                "alike", f"its text for {first.image_id} is the same as for {second.image_id}"
            )


def unrelated(replies: Replies) -> Iterator[Defect]:
    """Find swapped texts that are not closest to the text of the same image.

    Others are that of the image whose key it was given, and that of the blank image.
    """
    own, blanks = _by_image(replies, OWN), _by_image(replies, BLANK)
    for name, reply in _by_image(replies, SWAPPED).items():
        others = [blanks[name], *filter(None, [own.get(reply.asked_as)])]
        similarity = _similarity(reply, own[name])
        if any(similarity <= _similarity(reply, other) for other in others):
            yield Defect(
                "swapped", f"under the key of {reply.asked_as}, its text does not follow {name}"
            )


def _similarity(reply: Reply, other: Reply) -> float:
    """Return the share of two texts that is the same, word by word and in order: 0 to 1."""
    return SequenceMatcher(None, reply.words, other.words, autojunk=False).ratio()


def garbage(replies: Replies) -> Iterator[Defect]:
    """Report a model most of whose texts are garbled."""
    own = _by_image(replies, OWN)
    bad = [reply for reply in own.values() if reply.garbled]
    if 1 - len(bad) / len(own) < LEAST_SHARE:
        yield Defect(
            "garbled",
            f"{len(bad)} of {len(own)} texts are garbled: {bad[0].image_id}, {bad[0].garbled}",
        )


class Formats(NamedTuple):
    """The finished texts, and those of them that do not parse."""

    finished: Replies
    broken: Replies

    @property
    def mostly_broken(self) -> bool:
        """Whether less than `LEAST_SHARE` of the texts parse."""
        parsed = len(self.finished) - len(self.broken)
        return bool(self.finished) and parsed / len(self.finished) < LEAST_SHARE

    def __str__(self) -> str:
        count, of, first = len(self.broken), len(self.finished), self.broken[0]
        return (
            f"{count} of {of} finished texts ({as_text(count / of, '.0%')}) break the model's "
            "format: "
            f"{first.image_id}, {first.status}"
        )


def formats(replies: Replies) -> Formats:
    """Return which texts of unchanged images keep the model's format.

    A model that sees and writes well may break its format: it was not trained to think about
    captions, for instance. That is a result, and no reason to stop.
    """
    finished = [r for r in _by_image(replies, OWN).values() if r.finish_reason == "stop"]
    return Formats(finished, [reply for reply in finished if reply.status != statuses.OK])


def _by_image(replies: Replies, way: str) -> dict[str, Reply]:
    return {reply.image_id: reply for reply in replies if reply.way == way}


def garbled(text: str) -> str | None:
    """Return why a text without marks is not text in any language, or None.

    It is not if it is empty; if more than a twentieth of its characters are unprintable
    (replacement characters among them); if it is so repetitive that it compresses to less than a
    tenth; or if its letters are of many scripts, none of which has three in five of them.
    """
    text = text.strip()
    if not text:
        return "it is empty"
    odd = sum(map(_unprintable, text)) / len(text)
    if odd > 0.05:
        return f"{as_text(odd, '.0%')} of its characters cannot be printed"
    data = text.encode("utf-8", errors="replace")
    if len(data) >= 200 and len(zlib.compress(data)) < len(data) / 10:
        return "it repeats itself"
    scripts = Counter(_script(character) for character in text if character.isalpha())
    if scripts.total() >= 50:
        script, count = scripts.most_common(1)[0]
        if count / scripts.total() < 0.6:
            return f"it mixes {len(scripts)} scripts, {script.lower()} and others"
    return None


def _unprintable(character: str) -> bool:
    return character == "\N{REPLACEMENT CHARACTER}" or (
        unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs") and not character.isspace()
    )


def _script(letter: str) -> str:
    """Return a letter's script; those that Japanese mixes count as one."""
    script = unicodedata.name(letter, "unknown").split()[0]
    return "CJK" if script in ("HIRAGANA", "KATAKANA") else script
