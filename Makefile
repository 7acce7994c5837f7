# make demo    the whole pipeline on the miniature: no download but Python packages, no GPU
# make test    every test that needs only the environment and a LaTeX installation
# make vllm    installs vLLM for NVIDIA GPUs, for `inference.engine: vllm`, on a machine that has some (docs/engines.md)
# make test-vllm    installs a real vLLM (for CPUs) and tests against it
# make test-transformers    runs the engine and its models with other versions of transformers, minutes (downloads only these)
# make test-cluster    starts a real Slurm on this machine (as root; Debian's packages) and tests against it
# make test-browser    installs Chromium (Debian's, as root) and tests the reports of the miniature with it
# make test-gpu    measures and checks the engine on an NVIDIA GPU, in under ten minutes (tests/gpu)
# make bench   our metrics and our engine next to the reference libraries, as ratios; the image stages and the plan at full scale
#              (the engine next to vLLM too, once make test-vllm has installed it)
# make lint    ruff, snakefmt, snakemake --lint, import-linter, mypy
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
MINIATURE := config/miniature.yaml
VLLM := .venv-vllm
# The versions of transformers that the engine works with, besides the one in .venv.
TRANSFORMERS ?= 5.17.0 5.18.0 5.19.0 5.20.2 5.21.1 5.22.2 5.24.0
VLLM_GPU := .venv-vllm-gpu
# Jobs run side by side, so each uses one thread. No model hub is contacted.
export OMP_NUM_THREADS := 1
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

ENGINE_TESTS := tests/gpu $(patsubst %,tests/unit/inference/test_%.py,chat checkpoint_specs families kv_cache \
	latent_attention token_sampler transformers_engine)

.PHONY: demo test test-quick vllm test-vllm test-transformers test-cluster test-browser test-gpu bench lint format lock config-docs clean
.DEFAULT_GOAL := demo

demo: $(STAMP)
	$(BIN)/snakemake --configfile $(MINIATURE) --cores all all
	@echo "Tables, figures and comparison are in results/miniature (start with comparison.md)."

test: $(STAMP)
	$(BIN)/pytest -m "not slow" -n 2
	$(BIN)/pytest -m slow -n 2 --dist loadfile --no-loadscope-reorder

test-quick: $(STAMP)
	$(BIN)/pytest -m "not slow" -n 2

vllm: $(VLLM_GPU)/installed

test-vllm: $(STAMP) $(VLLM)/installed
	$(BIN)/pytest tests/vllm -n 2 --dist loadgroup

test-transformers: $(TRANSFORMERS:%=.venv-transformers/%/installed)
	for version in $(TRANSFORMERS); do \
		echo "transformers $$version"; \
		.venv-transformers/$$version/bin/python -m pytest -n 2 $(ENGINE_TESTS) || exit; \
	done

# The cluster is stopped even if tests fail. Their jobs wait much of the time, hence three workers.
test-cluster: demo
	export CLUSTER=$$(mktemp -d) && trap tests/cluster/stop_slurm.sh EXIT && \
		tests/cluster/start_slurm.sh && $(BIN)/pytest tests/cluster -n 3 --dist loadfile

test-browser: demo $(VENV)/browser
	@command -v chromium >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }
	$(BIN)/pytest tests/browser -n 2 --dist loadfile

test-gpu: $(STAMP)
	$(BIN)/python tests/gpu/session.py --out results/gpu_session

bench: $(STAMP)
	$(BIN)/python tests/benchmarks/libraries.py
	$(BIN)/python tests/benchmarks/scoring.py
	$(BIN)/python tests/benchmarks/aggregates.py
	$(BIN)/python tests/benchmarks/aggregate_jobs.py
	$(BIN)/python tests/benchmarks/interval_coverage.py
	$(BIN)/python tests/benchmarks/images.py
	$(BIN)/python tests/benchmarks/image_damage.py
	$(BIN)/python tests/benchmarks/plan.py
	$(BIN)/python tests/benchmarks/loops.py
	$(BIN)/python tests/benchmarks/inference.py $(addprefix --vllm ,$(wildcard $(VLLM)/bin/vllm))

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --configfile $(MINIATURE) --lint
	PYTHONPATH=scripts $(BIN)/lint-imports
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

# The exact pins are in two files: torch has different builds for each platform, hence no hashes.
$(STAMP): requirements.txt requirements-torch.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer, or run make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed; {sys.executable} is {v.major}.{v.minor}. Run make PYTHON=/path/to/python3 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python's venv module is missing: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	touch $@

# In a separate environment; vllm_on_cpu.py says what has to be adapted there.
$(VLLM)/installed: requirements-vllm.txt requirements-torch.txt tests/vllm/vllm_on_cpu.py
	rm -rf $(VLLM)
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps -r requirements-vllm.txt
	packages=$$($(VLLM)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		cp tests/vllm/vllm_on_cpu.py $$packages && echo "import vllm_on_cpu" > $$packages/vllm_on_cpu.pth
	$(VLLM)/bin/vllm --version
	touch $@

# All else is taken from .venv. What this version needs in another version too is installed next to it.
.venv-transformers/%/installed: $(STAMP)
	rm -rf $(@D)
	$(BIN)/python -m venv --without-pip $(@D)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > $$(echo $(@D)/lib/python3*/site-packages)/shared.pth
	$(BIN)/pip --python $(@D)/bin/python install --quiet --disable-pip-version-check transformers==$*
	$(@D)/bin/python -c 'import transformers; assert transformers.__version__ == "$*"'
	touch $@

# Never run where this was written. --version imports vLLM's compiled parts, so that a wrong driver is noticed here.
$(VLLM_GPU)/installed: requirements-vllm-gpu.txt
	rm -rf $(VLLM_GPU)
	$(PYTHON) -m venv $(VLLM_GPU)
	$(VLLM_GPU)/bin/pip install --quiet --disable-pip-version-check -r requirements-vllm-gpu.txt
	$(VLLM_GPU)/bin/vllm --version
	touch $@

$(VENV)/browser: $(STAMP) requirements-browser.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-browser.txt
	touch $@

lock:
	$(PYTHON) -m venv .lock && .lock/bin/pip install --quiet -r requirements-torch.txt pip-tools
	.lock/bin/pip-compile --quiet --generate-hashes --no-allow-unsafe --unsafe-package torch --no-strip-extras \
		--no-annotate --no-emit-index-url --no-emit-find-links --output-file requirements.txt requirements.in
	rm -r .lock

config-docs: $(STAMP)
	PYTHONPATH=scripts $(BIN)/python -m imagenet_think.run.configuration > config/README.md

clean:
	rm -rf results/miniature .snakemake
