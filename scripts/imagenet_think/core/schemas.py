"""Columns and types of every parquet file that one rule writes and another reads."""

import polars as pl

TEXT: pl.DataType = pl.String()
INT: pl.DataType = pl.Int64()
FLOAT: pl.DataType = pl.Float64()
BOOL: pl.DataType = pl.Boolean()


def _schema(**columns: pl.DataType) -> pl.Schema:
    return pl.Schema(columns)


def _of_teachers(**columns: pl.DataType) -> dict[str, pl.DataType]:
    """Return the columns of teacher 1, then those of teacher 2."""
    return {f"{name}_{k}": dtype for k in (1, 2) for name, dtype in columns.items()}


CLASSES = _schema(
    wnid=TEXT,
    class_index=INT,
    lemmas=TEXT,
    domain=TEXT,
    hypernym=TEXT,
    available=INT,
)

# One row per class archive in the outer archive, with a reason if it cannot be used.
UNPACKED = _schema(
    wnid=TEXT,  # null if it is not a class, as in the row of a damaged section
    archive=TEXT,  # its name in the outer archive
    bytes=INT,
    reason=TEXT,
    detail=TEXT,
)

# One row per member or damaged section of an archive, with a reason if it cannot be read.
CATALOGUE = _schema(
    wnid=TEXT,  # null if unknown (damage in an archive of many classes)
    source=TEXT,  # the archive or folder, relative to the source folder
    member=TEXT,  # null for a damaged section, as are offset and bytes
    offset=INT,  # in bytes, or the row of a parquet file; 0 for a file
    bytes=INT,  # null in parquet files, whose images are not read here
    reason=TEXT,  # null if it can be read
    detail=TEXT,
)

# One row per candidate: accepted ones with the prepared image, rejected ones with a reason.
CANDIDATES = _schema(
    image_id=TEXT,
    wnid=TEXT,
    source=TEXT,
    member=TEXT,
    rank=INT,  # in the class's keyed-hash order; null for rows of the catalogue
    reason=TEXT,  # null if accepted
    detail=TEXT,
    width=INT,
    height=INT,
    source_bytes=INT,
    source_sha256=TEXT,
    sha256=TEXT,
    complexity=FLOAT,
    perceptual_hash=pl.UInt64(),
    image=pl.Binary(),
)

SAMPLE = _schema(
    image_id=TEXT,
    wnid=TEXT,
    class_index=INT,
    lemma=TEXT,
    domain=TEXT,
    source=TEXT,
    member=TEXT,
    width=INT,
    height=INT,
    source_bytes=INT,
    source_sha256=TEXT,
    sha256=TEXT,
    complexity=FLOAT,
    complexity_stratum=INT,
    shard=TEXT,
)

EXCLUSIONS = _schema(wnid=TEXT, source=TEXT, member=TEXT, reason=TEXT, detail=TEXT)

IMAGE_ROWS = 128
"""Rows per row group in files of images: about 15 MB, which a reader holds in memory at once."""

IMAGE = pl.Struct({"bytes": pl.Binary(), "path": TEXT})
"""An image as Hugging Face's `datasets` stores it."""

IMAGES = _schema(
    image_id=TEXT,
    wnid=TEXT,
    image=IMAGE,
    width=INT,
    height=INT,
    sha256=TEXT,
    source_sha256=TEXT,
)

RESPONSES = _schema(
    image_id=TEXT,
    model=TEXT,
    revision=TEXT,
    prompt_id=TEXT,
    text=TEXT,  # with special tokens that cannot be text; null only if the row failed
    finish_reason=TEXT,  # stop, length, loop, error
    rounds=INT,
    forced=BOOL,
    prompt_tokens=INT,
    image_tokens=INT,
    completion_tokens=INT,
    attempt=INT,
    seed=INT,
    engine=TEXT,
    attention=TEXT,  # with precision, kernels and bounds where they can change the text
    fingerprint=TEXT,
    error=TEXT,
)

ANNOTATIONS = _schema(
    image_id=TEXT,
    model=TEXT,
    full=TEXT,
    think=TEXT,
    answer=TEXT,
    status=TEXT,  # whether the response follows its format
    think_status=TEXT,  # whether the part is known
    answer_status=TEXT,
)

# Tokens (of the configured tokenizer), words, script and language; one row per response and part.
LENGTHS = _schema(
    image_id=TEXT,
    model=TEXT,
    part=TEXT,
    tokens=INT,
    words=INT,
    non_latin=BOOL,
    english=BOOL,
)

# What a metric can read of a text; one row per response and part that can be scored.
DOMAIN = _schema(
    image_id=TEXT,
    model=TEXT,
    part=TEXT,
    metric=TEXT,
    tokens=INT,  # the metric's, without special tokens
    unknown=INT,  # of these, [UNK] and parts of characters
    letters=INT,  # letters, marks and digits; 0 where tokens are an encoder's
    in_words=INT,  # of these, in words that are tokens
    outside=TEXT,  # why the text is outside the metric's domain, otherwise null
)

# How far scores of an encoder that does not compute in float32 are from those that it would give.
PRECISION = _schema(
    metric=TEXT,
    column=TEXT,  # of the scores
    pairs=INT,
    greatest=FLOAT,  # absolute difference
)

# In how many of the teachers' texts a term occurs; one row per part and term. No metric reads those
# of thinking and answers any more. They stay: the file's digest decides whether cached scores are
# known, so that without them all TF-IDF scores of earlier runs would be computed again.
DOCUMENT_FREQUENCIES = _schema(
    part=TEXT,
    term=TEXT,
    frequency=INT,
    documents=INT,  # of the part; the same in all its rows
)

# The images that the benchmarked models are prompted with and scored on.
EVALUATED = _schema(image_id=TEXT, shard=TEXT)

TEACHERS = ("teacher_1", "teacher_2")
"""What a benchmarked model's text is compared with."""

AGAINST = (TEACHERS[1], "same_class", "other_class")
"""What a teacher's text is compared with: the other teacher's on the same image, or its own on a
different image of the same class or of another class."""

BETWEEN, SAME_CLASS, OTHER_CLASS = AGAINST
BASELINES = (SAME_CLASS, OTHER_CLASS)


AGREEMENT_AGGREGATES = _schema(
    grouping=TEXT,  # all or domain
    group=TEXT,
    metric=TEXT,
    part=TEXT,
    model=TEXT,  # the teacher whose text it is, or with `minus` whose baseline
    against=TEXT,  # one of `AGAINST`
    minus=TEXT,  # null, or same_class: the mean difference from that baseline
    value=FLOAT,
    low=FLOAT,  # null for other_class, whose comparisons share classes and images
    high=FLOAT,
    images=INT,  # in the mean
    left_out=INT,  # not in the mean; with `images` all of the group
    unpaired=INT,  # left out: without a partner, or itself the partner of another image
    # Mean share of both texts' tokens inside the window; null without a window.
    seen=FLOAT,
    outside=FLOAT,  # as in `AGGREGATES`; null for a difference
    outside_reasons=TEXT,
)

AGGREGATES = _schema(
    model=TEXT,
    part=TEXT,
    metric=TEXT,
    aggregate=TEXT,  # avg or max (equations 1 to 3)
    value=FLOAT,
    low=FLOAT,
    high=FLOAT,
    images=INT,  # in the mean
    left_out=INT,  # not in the mean; with `images` all that are evaluated
    no_response=INT,  # references but no response: left out, or scored 0
    # Means for comparisons, over the same images for all that is compared, and how many they are:
    common=FLOAT,  # images on which every model is scored in this part
    common_images=INT,
    paired=FLOAT,  # images on which this model is scored in every part
    paired_images=INT,
    shared=FLOAT,  # images on which every model is scored in every part
    shared_images=INT,
    # Mean share of tokens inside the window, of the responses and of the teachers' texts, and
    # shares of both that the window cut; null if the metric has no window.
    seen=FLOAT,
    seen_references=FLOAT,
    cut=FLOAT,
    cut_references=FLOAT,
    # Share of the mean's images with a text (the response or a reference) that is outside the
    # metric's domain, and the reasons, separated by commas.
    outside=FLOAT,
    outside_reasons=TEXT,
)

IMAGE_COUNTS = ("images", "left_out", "no_response")
"""The columns of `AGGREGATES` that count the images of a mean."""

GROUPS = _schema(grouping=TEXT, group=TEXT, **AGGREGATES)
"""The benchmark's results on groups of images; `grouping` is domain, stratum or length."""

# One row per metric, aggregate and pair of models, for full outputs.
DIFFERENCES = _schema(
    metric=TEXT,
    aggregate=TEXT,
    model=TEXT,
    other=TEXT,
    difference=FLOAT,  # model minus other, mean over the images on which every model is scored
    low=FLOAT,
    high=FLOAT,
    # The interval that holds for all pairs of the metric and aggregate at once.
    all_low=FLOAT,
    all_high=FLOAT,
    images=INT,
)

# Whether a model's answer names the image's class; one row per model and image.
MENTIONS = _schema(
    image_id=TEXT,
    model=TEXT,
    synset=BOOL,  # a lemma of the class itself; null without an answer
    hyponym=BOOL,  # of a class below it
    hypernym=BOOL,  # of the one above it
    other=BOOL,  # any of these of another image's class: the chance level
)


# The published dataset: one row per image with two usable responses.
DATASET = _schema(
    question=TEXT,  # the prompt; null if this pipeline prompted neither teacher
    **_of_teachers(think=TEXT, answer=TEXT),
    image_id=TEXT,
    wnid=TEXT,
    lemma=TEXT,
    domain=TEXT,
    # Digests of the source image and of the prepared one, and the size of the latter; null if
    # the run knew images only by name.
    source_sha256=TEXT,
    sha256=TEXT,
    width=INT,
    height=INT,
    **_of_teachers(
        model=TEXT,
        revision=TEXT,
        prompt_id=TEXT,
        decoding=TEXT,  # JSON; null if imported
        finish_reason=TEXT,
        forced=BOOL,  # whether thinking was cut off and closed by force
        prompt_tokens=INT,
        completion_tokens=INT,
        status=TEXT,
        engine=TEXT,
        seed=INT,
        fingerprint=TEXT,
    ),
)

# Images with a response that failed, was cut off or cannot be parsed: with the raw texts.
FAILED = _schema(**DATASET, **_of_teachers(text=TEXT))

# Where images of a dataset may be in a source: one row per member with the name of one.
LOCATED = _schema(image_id=TEXT, **CATALOGUE)

# Problems of rejoining a dataset with its images, one row per image.
MISSING = _schema(
    image_id=TEXT,
    wnid=TEXT,
    configuration=TEXT,
    split=TEXT,
    reason=TEXT,
    row=TEXT,  # left_out or kept
    detail=TEXT,
)

# The sample of the review page, in its order; a larger one begins with a smaller one.
REVIEWED = _schema(
    image_id=TEXT,
    domain=TEXT,
    **_of_teachers(model=TEXT, status=TEXT),
    left=TEXT,  # model shown on the left in a comparison; else null
    sample=TEXT,  # name of the sample that ends here
)

# The reviewers' judgements, one row per question answered.
DECISIONS = _schema(
    reviewer=TEXT,
    image_id=TEXT,
    model=TEXT,  # whose response; null for a comparison of two
    question=TEXT,
    value=TEXT,  # yes, no, unsure; for a comparison a model, tie or both_bad
    side=TEXT,  # left or right: where the preferred response was shown
)
