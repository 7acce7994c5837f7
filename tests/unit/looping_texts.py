"""Texts that repeat themselves, and real ones that do not, for the detection of loops."""

import re
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from random import Random

# Digits, signs of Chinese and Japanese, words in parts of at most six letters, marks, blanks.
_PIECES = re.compile(r"\d|[\u2e80-\uffff]| ?[^\W\d_]{1,6}| ?[^\w\s]+\n*|\s+|_")

PACKAGES = ("matplotlib", "networkx", "pandas", "sklearn", "snakemake")


def pieces(text: str) -> list[int]:
    """Return tokens such as byte pairs of a large model give: a text has about as many."""
    found = _PIECES.findall(text)
    numbers = {piece: number for number, piece in enumerate(dict.fromkeys(found))}
    return [numbers[piece] for piece in found]


def real_texts() -> Iterator[tuple[str, str]]:
    """Yield names and texts: long pages on installed packages, and modules of some of them."""
    for package in sorted(metadata.distributions(), key=lambda package: package.name):
        page = package.metadata.get_payload()
        if isinstance(page, str) and len(page) >= 8000:
            yield package.name, page
    for name in PACKAGES:
        folder = Path((find_spec(name).submodule_search_locations or [""])[0])
        for path in sorted(folder.rglob("*.py")):
            if path.stat().st_size >= 16_000 and "test" not in str(path.relative_to(folder)):
                yield f"{name}/{path.relative_to(folder)}", path.read_text("utf-8")


NOUNS = (
    *("sky", "sea", "boat", "mast", "sail", "rope", "flag", "pier", "gull", "sand", "hut", "tree"),
    *("man", "woman", "child", "dog", "cat", "table", "lamp", "light", "shadow", "corner", "hat"),
    *("window", "street", "tower", "bridge", "river", "grass", "stone", "fence", "wheel", "bench"),
)
ADJECTIVES = (
    *("bright", "dark", "blue", "green", "old", "small", "large", "red", "round", "wooden", "pale"),
    *("narrow", "wide", "broken", "empty", "distant", "striped", "grey", "tall", "wet", "yellow"),
)
VERBS = ("stands", "lies", "leans", "appears", "rests", "hangs", "is visible", "can be seen")
PLACES = (
    "on the left",
    "on the right",
    "in front",
    "far away",
    "at the top",
    "behind it",
    "nearby",
)


def _sentence(random: Random, words: int) -> str:
    """Return a sentence of so many words, about as many tokens."""
    drawn = [random.choice(NOUNS + ADJECTIVES + VERBS[:5]) for _ in range(words)]
    return " ".join(drawn).capitalize() + "."


def _counting(random: Random, words: int) -> list[str]:
    """Return a sentence over and over, with a number that counts."""
    said, place = _sentence(random, words).split(), random.randrange(words)
    return [
        " ".join([*said[:place], str(number), *said[place + 1 :]])
        for number in range(4000 // words)
    ]


def _changing(random: Random, words: int) -> list[str]:
    """Return a sentence over and over, each time with another word somewhere."""
    said, found = _sentence(random, words).split(), []
    for _ in range(4000 // words):
        place = random.randrange(len(said))
        found.append(" ".join([*said[:place], random.choice(NOUNS), *said[place + 1 :]]))
    return found


def _shuffled(random: Random, count: int, words: int) -> list[str]:
    sentences = [_sentence(random, words) for _ in range(count)]
    return [random.choice(sentences) for _ in range(4000 // words)]


def _blocks(random: Random, words: int, *, changing: bool) -> list[str]:
    block = [_sentence(random, 12).split() for _ in range(words // 13)]
    found = []
    for _ in range(4000 // words):
        lines = [list(line) for line in block]
        if changing:
            line = random.choice(lines)
            line[random.randrange(len(line))] = random.choice(NOUNS)
        found += [" ".join(line) for line in lines]
    return found


LOOPS: dict[str, Callable[[Random], list[str]]] = {
    "a number counts, 8 words": lambda r: _counting(r, 8),
    "a number counts, 30 words": lambda r: _counting(r, 30),
    "numbered, otherwise equal": lambda _: [f"{n}. The image shows a tree." for n in range(400)],
    "a word changes, 10 words": lambda r: _changing(r, 10),
    "a word changes, 40 words": lambda r: _changing(r, 40),
    "three sentences in any order": lambda r: _shuffled(r, 3, 12),
    "five long sentences in any order": lambda r: _shuffled(r, 5, 24),
    "a block of 300 words": lambda r: _blocks(r, 300, changing=False),
    "a block of 400 words": lambda r: _blocks(r, 400, changing=False),
    "a block of 400 words, of which one changes": lambda r: _blocks(r, 400, changing=True),
    "Chinese, a number counts": lambda _: [
        f"图片左侧有{n}个红色的木制小船停在岸边。" for n in range(200)
    ],
    "Russian, a word changes": lambda r: [
        f"На переднем плане видна {r.choice(RUSSIAN)} лодка у старого причала." for _ in range(300)
    ],
}
"""Kinds of loops: the sentences of one, of 4,000 tokens or so."""

RUSSIAN = ("красная", "синяя", "старая", "большая", "пустая", "новая", "белая", "узкая", "тёмная")


def _scene(random: Random) -> str:
    return (
        f"The {random.choice(ADJECTIVES)} {random.choice(NOUNS)} {random.choice(VERBS)} "
        f"{random.choice(PLACES)}"
    )


def _poem(random: Random) -> list[str]:
    refrain = ["", "O sing, grey gull, above the sea,", "and bring my sailor home to me.", ""]
    return [
        line for _ in range(60) for line in [*(f"{_scene(random)}," for _ in range(4)), *refrain]
    ]


def _box(random: Random) -> str:
    corners = [random.randrange(20, 980) for _ in range(4)]
    return f'{{"bbox_2d": {corners}, "label": "{random.choice(NOUNS)}"}},'


def _language(random: Random, signs: str, longest: int, blank: str, stop: str) -> list[str]:
    """Return sentences of made-up words, distributed by Zipf's law as those of a language are."""
    words = ["".join(random.choices(signs, k=random.randint(1, longest))) for _ in range(600)]
    shares = [1 / rank for rank in range(1, len(words) + 1)]
    return [blank.join(random.choices(words, shares, k=12)) + stop for _ in range(250)]


CHINESE = "天地人大小山水火木金土日月上下左右前后红黄蓝白黑"
KOREAN = "가나다라마바사아자차카타파하고노도로모보소오조"
RUSSIAN_LETTERS = "абвгдежзиклмнопрстуфхцчшщыьэюя"
ARABIC = "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
HINDI = "कखगघचछजझटठडढतथदधनपफबभमयरलवशसह"

LISTS: dict[str, Callable[[Random], list[str]]] = {
    "list of scenes": lambda r: [f"- {_scene(r)}." for _ in range(300)],
    "numbered list": lambda r: [f"{n}. **{r.choice(NOUNS)}**: {_scene(r)}." for n in range(250)],
    "table of words": lambda r: [
        f"| {n} | {r.choice(ADJECTIVES)} {r.choice(NOUNS)} | {r.choice(PLACES)} | yes |"
        for n in range(200)
    ],
    "table of numbers": lambda r: [
        f"| {n} | {r.randrange(1000)} | {r.randrange(1000)} | {r.random():.2f} |"
        for n in range(200)
    ],
    "bounding boxes": lambda r: [_box(r) for _ in range(120)],
    "rows of HTML": lambda r: [
        f"<tr><td>{r.choice(ADJECTIVES)} {r.choice(NOUNS)}</td><td>{r.randrange(1000)}</td></tr>"
        for _ in range(200)
    ],
    "points of an SVG": lambda r: [
        f'<circle cx="{r.randrange(500)}" cy="{r.randrange(500)}" r="{r.randrange(9)}"/>'
        for _ in range(150)
    ],
    "counting": lambda _: [" ".join(map(str, range(1, 1200)))],
    "multiplication table": lambda _: [
        f"{a} × {b} = {a * b}" for a in range(20) for b in range(20)
    ],
    "receipt": lambda r: [
        f"{r.randrange(1, 9)} x {r.choice(ADJECTIVES)} {r.choice(NOUNS)}  ${r.uniform(1, 99):.2f}"
        for _ in range(250)
    ],
    "questions and answers": lambda r: [
        f"**Is there a {r.choice(NOUNS)}?** {r.choice(['Yes', 'No'])}, {_scene(r).lower()}."
        for _ in range(200)
    ],
    "poem with a refrain": _poem,
    "a draft, said three times": lambda r: 3 * _language(r, RUSSIAN_LETTERS, 8, " ", ".")[:45],
    "Chinese": lambda r: _language(r, CHINESE, 2, "", "。"),
    "Korean": lambda r: _language(r, KOREAN, 3, " ", "."),
    "Russian": lambda r: _language(r, RUSSIAN_LETTERS, 8, " ", "."),
    "Arabic": lambda r: _language(r, ARABIC, 6, " ", "."),
    "Hindi": lambda r: _language(r, HINDI, 4, " ", "।"),
}
"""Texts in which much recurs, as models write them, of at least 2,000 tokens."""

INDISTINCT: dict[str, Callable[[Random], list[str]]] = {
    "rows of HTML, mostly attributes": lambda r: [
        f'<tr><td class="name">{r.choice(NOUNS)}</td><td class="size">{r.randrange(100)}</td></tr>'
        for _ in range(150)
    ],
    "matrix of zeros and ones": lambda r: [
        " ".join(r.choices("01", [20, 1], k=40)) for _ in range(120)
    ],
    "song that counts": lambda _: [
        f"{n} green bottles hanging on the wall, and if one green bottle should fall, there will be"
        for n in range(99, 0, -1)
    ],
}
"""Texts of which a loop that changes a number or a word has the form."""
