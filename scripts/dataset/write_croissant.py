"""The dataset in Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from build_dataset import FULL, PLAIN
from imagenet_think.core.files import write_text
from imagenet_think.core.logs import log_to
from imagenet_think.core.splits import CONFIGURATIONS, SPLITS
from imagenet_think.dataset import publication
from imagenet_think.dataset.dataset_fields import describe

if TYPE_CHECKING:
    from imagenet_think.core.job import snakemake

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The names that Croissant 1.0 prescribes (its appendix 1)."""

PARQUET = "application/x-parquet"
TYPES = {
    pl.String: "sc:Text",
    pl.Int64: "sc:Integer",
    pl.Float64: "sc:Float",
    pl.Boolean: "sc:Boolean",
}
"""Croissant's data types."""

SPLIT = "Whether the image is for training, validation or test; the name of its file says it."

SUMMARIES = {
    "default": "Images of which both teachers' responses could be taken apart.",
    "failed": "Images of which a response failed, was cut off or could not be taken apart.",
}
"""What each configuration holds."""


def write_croissant(
    files: Sequence[str | Path],
    images: str | Path,
    reported: str | Path,
    output: str | Path,
    settings: Mapping[str, Any],
) -> None:
    """Write the description.

    Parameters
    ----------
    files
        The dataset's parquet files, in its folder.
    images
        The csv of Table 2.
    reported
        What the paper reports (YAML).
    output
        The JSON file, in the dataset's folder.
    settings
        `full`, `run`, `source`, `dataset` and `compared`, as of `write_card`.
    """
    counts = pl.read_csv(images).row(0, named=True)
    identity = publication.identity(settings, counts, reported)
    described = describe_dataset(files, Path(output).parent, counts, identity, settings)
    write_text(json.dumps(described, ensure_ascii=False, indent=1) + "\n", output)


def describe_dataset(
    files: Sequence[str | Path],
    folder: Path,
    images: Mapping[str, Any],
    identity: tuple[str, str | None],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the description as JSON-LD.

    Its files are named from the folder it lies in, so that a copy of the folder is as good.

    Parameters
    ----------
    files, settings
        As of `write_croissant`.
    folder
        Where the files and the description lie.
    images
        The row of Table 2.
    identity
        The dataset's name, and what it says that is not the paper's (`publication.identity`).
    """
    full, dataset = settings["full"], settings["dataset"]
    compared = settings["compared"]
    teachers = [compared["names"][key] for key in compared["teachers"]]
    name, notice = identity
    summary = publication.description(images["images"], images["classes"], teachers, full)
    owner = (dataset["repository"] or "").partition("/")[0]
    licences = [publication.LICENSES[dataset["license"]][1]]
    if settings["source"] not in publication.FOREIGN and full:
        licences.append(publication.IMAGENET_TERMS)
    schemas = FULL if full else PLAIN
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": name,
        "description": f"{notice} {summary}" if notice else summary,
        "url": publication.places(dataset, folder, full)["url"],
        "license": licences,
        "creator": {
            "@type": "sc:Organization",
            "name": owner or "Who ran the ImageNet-Think pipeline",
        },
        **({"datePublished": dataset["published"]} if dataset["published"] else {}),
        "version": dataset["version"],
        "inLanguage": "en",
        "keywords": list(publication.KEYWORDS),
        "citeAs": publication.CITATION,
        "isLiveDataset": False,
        "rai:dataCollection": (
            "Each image was shown to each teacher with the same prompt; its response was taken "
            "apart into thinking and answer by the rules of the model's format."
        ),
        "rai:machineAnnotationTools": teachers,
        "rai:annotationsPerItem": str(len(teachers)),
        "rai:dataCollectionMissingData": SUMMARIES["failed"],
        "rai:dataBiases": list(publication.BIASES.values()),
        "rai:dataLimitations": list(publication.LIMITS.values()),
        "distribution": [
            *(file_object(Path(file), folder) for file in files),
            *(file_set(name) for name in CONFIGURATIONS),
        ],
        "recordSet": [record_set(name, schemas[name]) for name in CONFIGURATIONS],
    }


def file_object(file: Path, folder: Path) -> dict[str, str]:
    """Return a file with its checksum."""
    place = file.relative_to(folder).as_posix()
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": place,
        "name": place,
        "contentUrl": place,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": PARQUET,
        "sha256": digest,
    }


def file_set(configuration: str) -> dict[str, str]:
    """Return the files of a configuration."""
    return {
        "@type": "cr:FileSet",
        "@id": f"{configuration}-files",
        "name": f"{configuration}-files",
        "description": f"Parquet files of the configuration {configuration}.",
        "encodingFormat": PARQUET,
        "includes": f"{CONFIGURATIONS[configuration]}/*.parquet",
    }


def record_set(configuration: str, schema: pl.Schema) -> dict[str, Any]:
    """Return a configuration: the split, which the files' names tell, and a field a column."""
    files = {"fileSet": {"@id": f"{configuration}-files"}}
    split = {
        "@type": "cr:Field",
        "@id": f"{configuration}/split",
        "name": "split",
        "description": SPLIT,
        "dataType": ["sc:Text", "cr:Split"],
        "source": {
            **files,
            "extract": {"fileProperty": "fullpath"},
            # With brackets for one part alone, readers can open the files of a split only.
            "transform": {
                "regex": rf"{CONFIGURATIONS[configuration]}/({'|'.join(SPLITS)})-.+\.parquet$"
            },
        },
    }
    fields = []
    for name, dtype in schema.items():
        source = {**files, "extract": {"column": name}}
        if name == "image":
            source["transform"] = {"jsonPath": "bytes"}
        fields.append(
            {
                "@type": "cr:Field",
                "@id": f"{configuration}/{name}",
                "name": name,
                "description": describe(name),
                "dataType": "sc:ImageObject" if name == "image" else TYPES[dtype],
                "source": source,
            }
        )
    return {
        "@type": "cr:RecordSet",
        "@id": configuration,
        "name": configuration,
        "description": SUMMARIES[configuration],
        "key": {"@id": f"{configuration}/image_id"},
        "field": [split, *fields],
    }


if __name__ == "__main__":
    log_to(snakemake.log[0])
    write_croissant(
        files=snakemake.input.files,
        images=snakemake.input.images,
        reported=snakemake.input.reported,
        output=snakemake.output[0],
        settings=publication.published_as(
            json.loads(snakemake.params.settings), json.loads(snakemake.params.full)["full"]
        ),
    )
