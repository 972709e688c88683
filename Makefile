# Everything a fresh machine needs: Python ≥ 3.11 with pip and venv. `make help` lists the commands.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint deploy/constraints.txt
NEEDS := pyproject.toml deploy/constraints.txt
# Processes that run the unit layer side by side. The other layers load all cores and stop clocks: one test at a time.
TEST_WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 4 ] && echo 4 || echo $$n)
DATA ?= ../shared/data/fer2013
IMAGE ?= emostream
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
-include deploy/images/base.mk
# Nothing that is started here reports home (emostream/__init__.py).
export ORT_DISABLE_TELEMETRY := 1
export RAY_USAGE_STATS_ENABLED := 0
# Tests start some hundreds of processes: compiled modules are kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-fast check format docs bench gpu-check model detectors chart images pin-images sbom clean

help: ## List the commands.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: .venv/.demo ## Analyse a clip (SOURCE=video for an own one) into Redis, and show the events.
	$(BIN)/emostream demo $(if $(SOURCE),--source "$(SOURCE)")

test: .venv/.dev .venv/.debian .venv/.tools ## Run every test that this machine can run.
	$(BIN)/python -m tests.stages --workers $(TEST_WORKERS) $(PYTEST_ARGS)

test-fast: .venv/.dev ## Run what takes a minute: the unit layer without nets and long computations.
	$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadgroup -m "not integration and not slow and not heavy" $(PYTEST_ARGS)

check: .venv/.dev ## Lint, format check, types, layers, spelling.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 emostream # what Windows lacks
	$(BIN)/lint-imports --no-cache
	$(BIN)/typos

format: .venv/.dev ## Format and sort the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.dev ## Build the documentation into site/ (open site/index.html); it fails on a broken link or reference.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: .venv/.demo ## Measure the standard set on clips it makes itself (10 minutes); results in bench-output.
	$(BIN)/emostream bench all $(wildcard ../shared/data/videos/*-people-*.mp4)

gpu-check: .venv/.dev ## On a machine with an NVIDIA GPU: measure its engines and decoder, then test them, in 5 minutes; bench-output/gpu.json.
	@$(BIN)/emostream bench gpu --file bench-output/gpu.json
	EMOSTREAM_REQUIRE_GPU=1 timeout 120 $(BIN)/python -m pytest -q -m gpu tests/gpu

model: SHIPPED = --name emostream-compact --licence Apache-2.0
model: .venv/.dev ## Train a model from DATA and export it in place of the shipped one (hours; stopped, it goes on where it was).
	for run in halfway vgg wide; do \
	  $(BIN)/python -m training.train --config training/configs/$$run.yaml --run runs/$$run --set data.path=$(DATA) || exit 1; done
	$(BIN)/python -m training.export --run runs/wide --checkpoint best --out emostream/models/emotions.onnx --variant int8 $(SHIPPED)
	$(BIN)/python -m training.export --run runs/wide --checkpoint best --out emostream/models/emotions-fp32.onnx --variant fp32 $(SHIPPED)
	$(BIN)/python -m training.model_card --data $(DATA) --split publictest

detectors: .venv/.dev ## Make the prepared detectors in emostream/models again (needs network).
	$(BIN)/python -m emostream.vision.models.bundle

chart: .venv/.dev ## Bring the made files of the Helm chart in step.
	$(BIN)/python -m helm.chart_files

images: ## Build the images (IMAGE=registry/name TAG=version BUILD_FLAGS=…); needs Docker.
	for each in cpu gpu; do docker buildx build --load $(BUILD_FLAGS) --file deploy/images/$$each.Dockerfile \
	  $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) --tag $(IMAGE):$(TAG)-$$each . || exit 1; done

pin-images: ## Pin the base image by its digest, for the next `make images`; needs Docker.
	base=$$(sed -n 's/^ARG PYTHON_IMAGE=//p' deploy/images/cpu.Dockerfile) && \
	  digest=$$(docker buildx imagetools inspect $$base --format '{{.Manifest.Digest}}') && \
	  echo "PYTHON_IMAGE := $$base@$$digest" > deploy/images/base.mk && cat deploy/images/base.mk

sbom: ## List what is in the images (SPDX), beside them; needs Docker and Syft.
	for each in cpu gpu; do syft $(IMAGE):$(TAG)-$$each --output spdx-json=emostream-$(TAG)-$$each.spdx.json || exit 1; done

clean: ## Remove everything that was built or installed here.
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site demo-output bench-output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "emostream needs Python 3.11 or newer, found $$($(PYTHON) --version); set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "==> making .venv"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.demo: .venv/.created $(NEEDS)
	@echo "==> installing emostream with the demo's needs (about 1 minute)"
	@$(PIP) --editable '.[demo]'
	@touch $@

.venv/.debian: .venv/.created tests/install-debian-packages.sh
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "==> installing Debian packages for the tests (an RTSP server)"; \
	  sh tests/install-debian-packages.sh >/dev/null || echo "not installed; the tests that need them are skipped"; \
	else echo "for the tests with a real RTSP server, run tests/install-debian-packages.sh"; fi
	@touch $@

.venv/.tools: .venv/.dev tests/external_tools.py
	@echo "==> fetching Helm and Docker Compose for the tests"
	@$(BIN)/python -m tests.external_tools >/dev/null || echo "not fetched; the tests that need them are skipped"
	@touch $@

.venv/.dev: .venv/.created $(NEEDS)
	@echo "==> installing emostream with everything for tests and training (a few minutes)"
	@$(PIP) --editable '.[train,dev]'
	@touch $@
