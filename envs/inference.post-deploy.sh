#!/usr/bin/env bash
# Flash attention, built into the environment that is active. Conda environments of inference.yaml get it from Snakemake,
# which runs this when it has made one (--sdm conda); for another, as .venv, say `bash envs/inference.post-deploy.sh`.
# Where there is no CUDA compiler it is left out, and PyTorch's own attention is used.
#
#   Python 3.11, torch 2.13.0 with CUDA 13.0, nvcc 13.0, flash-attn 2.8.3.post2
#
# CUDA 13.0 is what PyPI's torch 2.13.0 for Linux asks for (its metadata: cuda-toolkit 13.0.3), and that wants a driver of the
# 580 series or newer (NVIDIA's release notes of CUDA 13). With an older one, install torch 2.13.0 from
# https://download.pytorch.org/whl/cu126 and load CUDA 12.6.
# nvcc must be of torch's CUDA, at least in the first number (torch.utils.cpp_extension refuses others).
# flash-attn is on PyPI as source alone. Its maintainers ask for CUDA 12.0, torch 2.2, ninja, packaging and psutil, and fewer
# jobs than cores where there is little memory (https://github.com/Dao-AILab/flash-attention). It compiles as C++17, which the
# headers of torch 2.13 still allow, with warnings (pull request 2899 there); those of torch 2.14 do not.
# Never built here: written where there was neither a GPU nor nvcc. Others did build this version's predecessor for torch 2.13.
set -euo pipefail

cuda=$(python -c 'import torch; print(torch.version.cuda or "")')
if [[ -z $cuda ]]; then
    echo "flash-attn is left out: this torch is built without CUDA"
    exit
fi
if ! command -v nvcc >/dev/null; then
    echo "flash-attn is left out, PyTorch's own attention is used: there is no nvcc. To have it, load CUDA $cuda" \
        "(module load cuda/$cuda) and run this again in the environment: $0"
    exit
fi

# 80 is the A100, 90 the H100 and the H200. A compiler takes several GB of memory.
export FLASH_ATTN_CUDA_ARCHS=${FLASH_ATTN_CUDA_ARCHS:-80;90} MAX_JOBS=${MAX_JOBS:-8} NVCC_THREADS=${NVCC_THREADS:-2}
pip install setuptools==84.2.1 wheel==0.48.0 ninja==1.13.2 packaging==25.0 psutil==7.2.2 einops==0.8.2
pip install --no-build-isolation --no-deps flash-attn==2.8.3.post2
python -c 'import flash_attn; print("flash-attn", flash_attn.__version__)'
