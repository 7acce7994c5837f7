"""The canary: a few of a run's own images, asked first, show that a model sees and speaks.

Images have been dropped on the way into a model without an error, and weights loaded wrongly; what
followed was fluent and worthless. So, before a model's first big job, up to four images are asked
in three ways in one go: as they are; a blank one of the same size in their place; and in swapped
pairs, each under the other's key and seed. Then

- an image's text must differ from that of its blank, asked with the same seed, and within its first
  `SAME_WORDS` words (a model that sees nothing would say the same to the end, but for the noise of
  arithmetic in bfloat16); and it must differ from those of the other images;
- where decoding is greedy, the text must follow the image: swapped, it is nearer to what the same
  image got under its own key than to the text of the image whose key it bears, or to the blank's.
  (Equal it is only where arithmetic does not depend on the batch, as in float32 on the CPU.) Where
  decoding draws at random, another seed gives another text, and nothing can be said of swapping;
- the engine must have counted as many image tokens as the model's processor puts in;
- at least half of the texts must be text (see `garbled`);
- of those that came to their end, at least half must have marks that parse. One that reached the
  bound on its length (`MAX_NEW_TOKENS`, or the model's own where that is less) says nothing about
  its closing marks and is only counted.

The verdict is a page for people and a JSON file. It holds for all jobs of the same digest: none of
them asks again.
"""

import base64
import io
import json
import logging
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from PIL import Image

from imagenet_think.core.files import write_text
from imagenet_think.inference import seeding
from imagenet_think.inference.chat import encode, png_file
from imagenet_think.inference.conversations import Policy, converse
from imagenet_think.inference.engines import Engine, Request, Response
from imagenet_think.inference.usage import TOKENS
from imagenet_think.parsing import parse, statuses

logger = logging.getLogger(__name__)

IMAGES = 4
"""Images that are asked, where there are so many; an even number, for swapping."""

MAX_NEW_TOKENS = 2048
"""Bound on a text's length; the paper's samples have 1,542 tokens on average, in two responses."""

SAME_WORDS = 50
"""Words that no two texts of different images begin with alike."""

LEAST_SHARE = 0.5
"""Least share of texts that are no garbage, and of ended texts that parse."""

OWN, BLANK, SWAPPED = "own", "blank", "swapped"
GRAY = (128, 128, 128)
_TEMPLATE = Path(__file__).with_name("canary.html")
_THUMBNAIL = (240, 180)


class CanaryError(RuntimeError):
    """A model must not be asked about a whole run. The message names the page that shows why."""


class Finding(NamedTuple):
    """Something that is wrong: of what kind, and in words."""

    kind: str  # refused, image_tokens, blind, alike, swapped, garbled or marks
    text: str


@dataclass(frozen=True)
class Said:
    """What a model said when asked in one way.

    Attributes
    ----------
    image_id
        The image that was shown, or whose blank was.
    way
        `OWN`, `BLANK` or `SWAPPED`.
    asked_as
        The image under whose key and seed it was asked: another one where swapped.
    text, finish_reason, error
        As in a response.
    image_tokens, expected_image_tokens
        As the engine counted them, and as the model's processor does.
    completion_tokens
        Tokens of the text.
    status
        How its marks parse.
    garbled
        Why the text is no text, or None.
    """

    image_id: str
    way: str
    asked_as: str
    text: str | None
    finish_reason: str
    error: str | None
    image_tokens: int
    expected_image_tokens: int
    completion_tokens: int
    status: str
    garbled: str | None


def require_sight(
    engine: Engine,
    images: Mapping[str, bytes],
    policy: Policy,
    *,
    processor: Any,
    output_format: str,
    digest: str,
    folder: str | Path,
) -> dict[str, int] | None:
    """Ask a model about a few images and stop it if it is blind or garbled.

    Parameters
    ----------
    engine
        The loaded model.
    images
        Image files by image_id, readable ones, all different.
    policy
        How the run asks. Here a text has `MAX_NEW_TOKENS` at most and one attempt, and no thought
        is closed by force.
    processor
        The family's, which says how many image tokens there must be.
    output_format
        The model's, one of `imagenet_think.parsing.FORMATS`.
    digest
        Of all that decides whether the model sees: the run's settings for it, and what computes.
    folder
        Where `<model>-<digest>.html` and `.json` are written, with the digest's first 8 digits.

    Returns
    -------
    dict or None
        Tokens that were spent: prompt_tokens, image_tokens, completion_tokens. None if the model
        had passed before.

    Raises
    ------
    CanaryError
        If something was found, now or before; the page shows images and texts.
    """
    key = policy.model["key"]
    page = Path(folder) / f"{key}-{digest[:8]}.html"
    verdict = page.with_suffix(".json")
    before = _findings(verdict, digest)
    if before:
        raise CanaryError(
            f"{key} has failed the canary before, as it is now: {'; '.join(before)}. See {page}; "
            f"delete {verdict} to have it asked again"
        )
    if before is not None:
        logger.info("%s: the canary has passed before: %s", key, page)
        return None
    said, spent = ask(engine.generate, images, policy, processor, output_format)
    findings = judge(said, greedy=not seeding.at_random(policy.model["decoding"]))
    write_text(_page(policy, engine.record, images, said, findings), page)
    record = {
        "digest": digest,
        "model": key,
        "findings": [finding._asdict() for finding in findings],
        "said": [asdict(one) for one in said],
    }
    write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", verdict)
    if findings:
        found = "; ".join(_one_of_each(findings))
        raise CanaryError(f"{key} must not be asked about this run: {found}. See {page}")
    logger.info("%s: the canary passes: %s", key, page)
    if not any(one.finish_reason == "stop" for one in said if one.way == OWN):
        logger.warning("%s: no text came to its end, so its marks could not be judged", key)
    return spent


def ask(
    generate: Callable[[Iterable[Request]], Iterator[Response]],
    images: Mapping[str, bytes],
    policy: Policy,
    processor: Any,
    output_format: str,
) -> tuple[list[Said], dict[str, int]]:
    """Ask about images in all ways, in one go.

    Parameters
    ----------
    generate
        An engine's.
    images, policy, processor, output_format
        As for `require_sight`.

    Returns
    -------
    list of Said
        For each image in turn: as it is, its blank, swapped.
    dict
        Tokens that were spent.
    """
    asked = {
        _key(way, asked_as): (image_id, way, asked_as) for image_id, way, asked_as in _ways(images)
    }
    # Thoughts are not closed by force: what the model does by itself is looked at.
    decoding = policy.model["decoding"]
    bound = min(decoding["max_new_tokens"], MAX_NEW_TOKENS)
    bounded = replace(
        policy,
        model=policy.model
        | {"close_thought": None, "decoding": decoding | {"max_new_tokens": bound}},
        attempts=1,
        seed=lambda key, attempt, turn: policy.seed(asked[key][2], attempt, turn),
    )
    expected: Counter[str] = Counter()
    stream = (
        (key, blank(images[image_id]) if way == BLANK else images[image_id])
        for key, (image_id, way, _) in asked.items()
    )
    answers = {
        answer.response.key: answer
        for answer in converse(_counting(generate, processor, expected), stream, bounded)
    }
    said = []
    for key, (image_id, way, asked_as) in asked.items():
        response = answers[key].response
        parsed = parse(output_format, response.text, response.finish_reason)
        said.append(
            Said(
                image_id=image_id,
                way=way,
                asked_as=asked_as,
                text=response.text,
                finish_reason=response.finish_reason,
                error=response.error,
                image_tokens=response.image_tokens,
                expected_image_tokens=expected[key],
                completion_tokens=response.completion_tokens,
                status=parsed.status,
                garbled=None if response.text is None else garbled(parsed.full or ""),
            )
        )
    spent = {name: sum(answer.spent[name] for answer in answers.values()) for name in TOKENS}
    return said, spent


def _ways(images: Mapping[str, bytes]) -> Iterator[tuple[str, str, str]]:
    """Yield image_id, way and key of each question; swapped are neighbours, the odd one is not."""
    names = list(images)
    partners = dict(zip(names[::2], names[1::2], strict=False))
    partners |= {second: first for first, second in partners.items()}
    for name in names:
        yield name, OWN, name
        yield name, BLANK, name
        if name in partners:
            yield name, SWAPPED, partners[name]


def _key(way: str, asked_as: str) -> str:
    return f"{way}/{asked_as}"


def _counting(
    generate: Callable[[Iterable[Request]], Iterator[Response]],
    processor: Any,
    expected: Counter[str],
) -> Callable[[Iterable[Request]], Iterator[Response]]:
    """Return `generate`, adding the image tokens that each answered request must have had."""

    def counting(requests: Iterable[Request]) -> Iterator[Response]:
        open_requests = {}

        def passed_on() -> Iterator[Request]:
            for request in requests:
                open_requests[request.key] = request
                yield request

        for response in generate(passed_on()):
            request = open_requests.pop(response.key)
            if response.text is not None:
                ids = encode(processor, request.messages, request.prefix)["input_ids"]
                expected[response.key] += int((ids == processor.image_token_id).sum())
            yield response

    return counting


def blank(image: bytes) -> bytes:
    """Return a gray image of the size of another, as a PNG file."""
    with Image.open(io.BytesIO(image)) as file:
        return png_file(Image.new("RGB", file.size, GRAY))


# Judging -----------------------------------------------------------------------------------------


def judge(said: list[Said], *, greedy: bool) -> list[Finding]:
    """Return what is wrong, nothing where the model may be asked.

    Parameters
    ----------
    said
        From `ask`.
    greedy
        Whether decoding is greedy.
    """
    by_way = {
        way: {one.image_id: one for one in said if one.way == way} for way in (OWN, BLANK, SWAPPED)
    }
    own = by_way[OWN]
    # A run's images may be such that a model cannot be asked about one of them: that is a row's
    # failure, not the model's.
    answered = {name for name, one in own.items() if one.text is not None}
    refused = [
        one for one in said if one.text is None and (one.image_id in answered or not answered)
    ]
    if refused:
        return [Finding("refused", f"it cannot be asked: {refused[0].error}")]
    said = [one for one in said if one.image_id in answered]
    own, blanks, swapped = (
        {name: one for name, one in rows.items() if name in answered} for rows in by_way.values()
    )
    findings = []
    for one in said:
        if not one.image_tokens == one.expected_image_tokens > 0:
            findings.append(
                Finding(
                    "image_tokens",
                    f"{one.image_id} ({one.way}) had {one.image_tokens} image tokens, "
                    f"not {one.expected_image_tokens}",
                )
            )
    findings += [
        Finding("blind", f"it says the same of {name} as of a blank image")
        for name, one in own.items()
        if _begins_alike(one.text, blanks[name].text)
    ]
    findings += [
        Finding("alike", f"it says the same of {first} as of {second}")
        for first, second in combinations(own, 2)
        if own[first].text == own[second].text
    ]
    if greedy:
        findings += [
            Finding("swapped", f"under the key of {one.asked_as}, its text does not follow {name}")
            for name, one in swapped.items()
            if not _follows(one, own[name], [blanks[name], *filter(None, [own.get(one.asked_as)])])
        ]
    garbage = [one for one in own.values() if one.garbled]
    if 1 - len(garbage) / len(own) < LEAST_SHARE:
        findings.append(
            Finding(
                "garbled",
                f"{len(garbage)} of {len(own)} texts are no text: {garbage[0].image_id}, "
                f"{garbage[0].garbled}",
            )
        )
    ended = [one for one in own.values() if one.finish_reason == "stop"]
    bad = [one for one in ended if one.status != statuses.OK]
    if ended and 1 - len(bad) / len(ended) < LEAST_SHARE:
        findings.append(
            Finding(
                "marks",
                f"the marks of {len(bad)} of {len(ended)} ended texts do not parse: "
                f"{bad[0].image_id}, {bad[0].status}",
            )
        )
    return findings


def _begins_alike(text: str, other: str) -> bool:
    """Tell whether two texts are the same, at least at their beginning."""
    if text == other:
        return True
    beginning, others = text.split()[:SAME_WORDS], other.split()[:SAME_WORDS]
    return len(beginning) == SAME_WORDS and beginning == others


def _follows(swapped: Said, own: Said, others: list[Said]) -> bool:
    """Tell whether a swapped text is nearer to that of its own image than to any of the others."""
    nearness = _similarity(swapped.text, own.text)
    return all(nearness > _similarity(swapped.text, other.text) for other in others)


def _similarity(text: str, other: str) -> float:
    """Return how much of two texts is the same, word by word and in order: 0 to 1."""
    return SequenceMatcher(None, text.split(), other.split(), autojunk=False).ratio()


def garbled(text: str) -> str | None:
    """Return why a text is no text in any language, or None.

    It is none if it is empty; if more than a twentieth of its characters cannot be printed
    (replacement characters among them); if it repeats itself so much that it shrinks to less than a
    tenth; or if its letters are of many scripts, none of which has three in five of them.

    Parameters
    ----------
    text
        A response without marks.
    """
    text = text.strip()
    if not text:
        return "it is empty"
    odd = sum(map(_unprintable, text)) / len(text)
    if odd > 0.05:
        return f"{odd:.0%} of its characters cannot be printed"
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


# The verdict -------------------------------------------------------------------------------------


def _findings(verdict: Path, digest: str) -> list[str] | None:
    """Return what was found before, one of each kind; None where the model was not asked."""
    if not verdict.exists():
        return None
    record = json.loads(verdict.read_text(encoding="utf-8"))
    if record["digest"] != digest:
        return None
    return _one_of_each(Finding(**finding) for finding in record["findings"])


def _one_of_each(findings: Iterable[Finding]) -> list[str]:
    """Return the first finding of each kind, in words."""
    first: dict[str, str] = {}
    for finding in findings:
        first.setdefault(finding.kind, finding.text)
    return list(first.values())


def _page(
    policy: Policy,
    record: Mapping[str, Any],
    images: Mapping[str, bytes],
    said: list[Said],
    findings: list[Finding],
) -> str:
    """Return the page: one HTML file that loads nothing."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    own = [one for one in said if one.way == OWN]
    ended = [one for one in own if one.finish_reason == "stop"]
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        key=policy.model["key"],
        prompt=policy.prompt,
        findings=findings,
        record=record,
        facts=[
            ("images asked", len(own)),
            ("texts that ended", len(ended)),
            ("of them, marks parse", sum(one.status == statuses.OK for one in ended)),
            ("texts that are no text", sum(bool(one.garbled) for one in own)),
        ],
        rows=[
            (name, _thumbnail(image), {one.way: one for one in said if one.image_id == name})
            for name, image in images.items()
        ],
        blanks={name: _thumbnail(blank(image)) for name, image in images.items()},
        headings={
            OWN: "As it is",
            BLANK: "A blank image in its place",
            SWAPPED: "Asked under another image's key",
        },
    )


def _thumbnail(image: bytes) -> str:
    """Return an image as a small JPEG in a data URI."""
    with Image.open(io.BytesIO(image)) as file:
        small = file.convert("RGB")
    small.thumbnail(_THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
