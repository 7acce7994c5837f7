"""A config file is read strictly, and every error is reported with its line."""

from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imagenet_think.run import config_file


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("configs") / "my.yaml"


WRONG = {
    "a duplicate key": ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", ["line 5", "'c'", "line 3"]),
    "several at once": ("a: 1\na: 2\nb: 1\nb: 2\nno: 3\n", ["3 problems", "'a'", "'b'", "'no'"]),
    "a duplicate key in a flow mapping": ('a: {b: 1,\n "b": 2}', ["line 2", "duplicate key 'b'"]),
    "a list that is not closed": ("a: [1\nb: 2\n", ["line 2", "expected ',' or ']'"]),
    "an unquoted colon": ("a: b: c", ["line 1", "mapping values are not allowed here"]),
    "a control character": ("a: 1\nb: \x01", ["line 2", "0x0001"]),
    "half of a surrogate pair": ('a: 1\nb: "\\ud83d"', ["line 2", "surrogate"]),
    "a mapping in itself": ("a: &a\n  b: {c: *a}", ["line", "contains it"]),
    "two documents": ("a: 1\n---\nb: 2", ["line 2", "another document"]),
    "no": ("no: 1", ["line 1", "the key 'no' is not a string", "quotation marks"]),
    "a list as key": ("? [a, b]\n: c", ["line 1", "not a string"]),
    "a date": ("a: 2026-01-31", ["line 1", "'2026-01-31' is a timestamp", "quotation marks"]),
    "no date": ("a: 2026-02-30", ["line 1", "'2026-02-30'", "quotation marks"]),
    "a Python object": ("a: !!python/tuple [1]", ["line 1", "python/tuple"]),
    "a value that its tag contradicts": ("a: !!int b", ["line 1", "'b' is not a valid int"]),
    "a number of 5,000 digits": ("a: " + "1" * 5000, ["line 1", "not a valid int"]),
    "a number of more than 64 bits": ("a: 0x8000000000000000", ["line 1", "not a valid int"]),
    "nothing": ("", ["the file is empty"]),
    "a list": ("- a: 1", ["line 1", "at the top level"]),
    "deep nesting": ("a: " + "[" * 5000, ["nested too deeply"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_error_is_reported_with_its_line(file, name):
    text, words = WRONG[name]
    file.write_text(text, encoding="utf-8")
    with pytest.raises(config_file.ConfigError) as caught:
        config_file.read(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert not [word for word in words if word not in message], message


def test_aliases_are_not_expanded_without_bound(file):
    lines = ["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    file.write_text("\n".join(lines))
    with pytest.raises(config_file.ConfigError, match="more than 1,000,000 values"):
        config_file.read(file)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_different_encoding_is_reported(file, encoding):
    file.write_bytes("a: 1\nb: é\n".encode(encoding))
    line = 2 if encoding == "latin-1" else 1
    with pytest.raises(config_file.ConfigError, match=f"line {line} is not UTF-8"):
        config_file.read(file)


def test_an_unreadable_file_is_reported(tmp_path):
    for path, reason in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "Is a directory")):
        with pytest.raises(config_file.ConfigError, match=reason) as caught:
            config_file.read(path)
        assert str(path) in str(caught.value)


def test_shared_settings_may_be_merged_and_overridden(file):
    file.write_text("a: &a {k: 1, l: 2}\nb:\n  <<: *a\n  k: 3\nc: *a\n")
    assert config_file.read(file)["b"] == {"k": 3, "l": 2}
    file.write_text("\ufeffa: 1\n", encoding="utf-8")
    assert config_file.read(file) == {"a": 1}


text = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
whole = st.integers(config_file.LEAST, config_file.MOST)
plain = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(text, plain, min_size=1))
def test_a_dumped_config_is_read_back(file, value):
    file.write_text(yaml.safe_dump(value, allow_unicode=True), encoding="utf-8")
    assert config_file.read(file) == value


@settings(deadline=None)
@given(st.binary() | st.text(alphabet="ab:&*-[]{}<!|>'\"\n\t #?01.,%").map(str.encode))
def test_any_bytes_are_a_config_or_a_config_error(file, content):
    file.write_bytes(content)
    with suppress(config_file.ConfigError):
        assert isinstance(config_file.read(file), dict)
