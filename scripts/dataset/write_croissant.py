"""Describe the dataset in Croissant 1.0, a JSON-LD format for datasets.

Specification: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from imagenet_think.core.csv_files import read_csv
from imagenet_think.core.files import write_text
from imagenet_think.core.job import start_job
from imagenet_think.core.settings import Values
from imagenet_think.core.splits import CONFIGURATIONS, SPLITS
from imagenet_think.dataset import hub_files, publication
from imagenet_think.dataset.dataset_fields import DESCRIPTIONS
from imagenet_think.report import evidence
from imagenet_think.report.evidence import Evidence

CROISSANT_TERMS = (
    *("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
    *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source"),
    *("subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in CROISSANT_TERMS},
}
"""The JSON-LD context that Croissant 1.0 prescribes (appendix 1)."""

PARQUET = "application/x-parquet"
TYPES: dict[type[pl.DataType], str] = {
    pl.String: "sc:Text",
    pl.Int64: "sc:Integer",
    pl.Float64: "sc:Float",
    pl.Boolean: "sc:Boolean",
    pl.Struct: "sc:ImageObject",
}
"""Croissant's data types."""

SPLIT = "Whether the image is for training, validation or test, as in the name of its file."

SUMMARIES = {
    "default": "Images for which both teachers' responses could be parsed.",
    "failed": "Images for which a response failed, was cut off or could not be parsed.",
}
"""The contents of each configuration."""


def write_croissant(
    files: Sequence[str | Path],
    tables: Sequence[str | Path],
    reported: str | Path,
    output: str | Path,
    config: Values,
    *,
    full: bool,
) -> None:
    """Write the description.

    Parameters
    ----------
    files
        The dataset's parquet files, in its folder.
    tables, reported
        Of the run: the csv files table2 and language; and what the paper reports (YAML).
    output
        The JSON file, in the dataset's folder.
    config
        The keys of the config that the rule declares.
    full
        Whether the dataset contains images.
    """
    read = {Path(path).stem: read_csv(path, infer_schema_length=None) for path in tables}
    images = read["table2"].row(0, named=True)
    known = evidence.evidence(config, images, read["language"])
    name, notice = publication.identity(config, images, reported)
    failed = hub_files.failed(hub_files.count_rows(files))
    summary = publication.description(known, publication.teacher_names(config), failed, full)
    folder = Path(output).parent
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": name,
        "description": f"{notice} {summary}" if notice else summary,
        **publication_fields(config, known, folder, full),
        "distribution": [
            *(file_object(Path(file), folder) for file in files),
            *(file_set(name) for name in CONFIGURATIONS),
        ],
        "recordSet": [record_set(*each) for each in hub_files.schemas(full).items()],
    }
    write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", output)


def publication_fields(config: Values, known: Evidence, folder: Path, full: bool) -> dict[str, Any]:
    """Return who publishes the dataset where, under which licences and with which limitations."""
    dataset, teachers = config["dataset"], publication.teacher_names(config)
    owner = (dataset["repository"] or "").partition("/")[0]
    licences = [publication.LICENSES[dataset["license"]][1]]
    if full and known.owner == evidence.IMAGENET:
        licences.append(publication.IMAGENET_TERMS)
    return {
        "url": publication.places(dataset, folder, full)["url"],
        "license": licences,
        "creator": {
            "@type": "sc:Organization",
            "name": owner or "The user who ran the ImageNet-Think pipeline",
        },
        **({"datePublished": dataset["published"]} if dataset["published"] else {}),
        "version": dataset["version"],
        **({"inLanguage": "en"} if known.is_english else {}),
        "keywords": publication.keywords(known),
        "citeAs": publication.CITATION,
        "isLiveDataset": False,
        "rai:dataCollection": publication.collection(known, teachers),
        "rai:machineAnnotationTools": teachers,
        "rai:annotationsPerItem": str(len(teachers)),
        "rai:dataCollectionMissingData": SUMMARIES["failed"],
        "rai:dataBiases": list(publication.biases(config, known).values()),
        "rai:dataLimitations": list(publication.limits(config, known).values()),
    }


def node(kind: str, name: str, own_id: str | None = None, **properties: Any) -> dict[str, Any]:
    """Return a node of the description, whose id is its name unless it has its own."""
    return {"@type": f"cr:{kind}", "@id": own_id or name, "name": name, **properties}


def file_object(file: Path, folder: Path) -> dict[str, Any]:
    """Describe a file, with its checksum; its location is relative to the folder."""
    place = file.relative_to(folder).as_posix()
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    size = f"{file.stat().st_size} B"
    about = {"contentUrl": place, "contentSize": size, "encodingFormat": PARQUET, "sha256": digest}
    return node("FileObject", place, **about)


def file_set(configuration: str) -> dict[str, Any]:
    """Describe the files of a configuration."""
    return node(
        "FileSet",
        f"{configuration}-files",
        description=f"Parquet files of the configuration {configuration}.",
        encodingFormat=PARQUET,
        includes=f"{CONFIGURATIONS[configuration]}/*.parquet",
    )


def record_set(configuration: str, schema: pl.Schema) -> dict[str, Any]:
    """Describe a configuration: the split, read from file names, and one field per column."""

    def field(name: str, words: str, kind: Any, extract: dict, **transform: Any) -> dict[str, Any]:
        source = {"fileSet": {"@id": f"{configuration}-files"}, "extract": extract, **transform}
        own_id = f"{configuration}/{name}"
        return node("Field", name, own_id, description=words, dataType=kind, source=source)

    # With one group only, readers can open the files of one split.
    splits = rf"{CONFIGURATIONS[configuration]}/({'|'.join(SPLITS)})-.+\.parquet$"
    path = {"fileProperty": "fullpath"}
    kinds = ["sc:Text", "cr:Split"]
    fields = [field("split", SPLIT, kinds, path, transform={"regex": splits})]
    for name, dtype in schema.items():
        kind = TYPES[type(dtype)]
        read = {"transform": {"jsonPath": "bytes"}} if name == "image" else {}
        fields.append(field(name, DESCRIPTIONS[name], kind, {"column": name}, **read))
    return node(
        "RecordSet",
        configuration,
        description=SUMMARIES[configuration],
        key={"@id": f"{configuration}/image_id"},
        field=fields,
    )


if __name__ == "__main__":
    snakemake = start_job()
    write_croissant(
        files=snakemake.input.files,
        tables=snakemake.input.tables,
        reported=snakemake.input.reported,
        output=snakemake.output[0],
        config=json.loads(snakemake.params.settings),
        full=json.loads(snakemake.params.full)["full"],
    )
