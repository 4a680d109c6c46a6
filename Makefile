# `make help` lists the targets. Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= $(shell command -v python3.11 || echo python3)
PY := .venv/bin/python
# `make setup TORCH=cpu` takes PyTorch without CUDA, from PyTorch's own index; also cu126 and others that it has.
TORCH_BACKEND := $(if $(TORCH),--torch-backend=$(TORCH))
TORCH_INDEX := $(if $(TORCH),--extra-index-url https://download.pytorch.org/whl/$(TORCH))
PACKAGES := --constraint constraints.txt --editable '.[dev]'

.DEFAULT_GOAL := help
.PHONY: help setup demo watch summary effects curves best report tensorboard exercises exercises-test practice transfer \
    segmentation tricks-study docs-data docs-exercises test slurm-test bench bench-sweep bench-summary bench-slurm \
    bench-effects bench-tricks lint format

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { \
	    line = sprintf("  make %-15s", $$1); count = split($$2, words, " "); \
	    for (i = 1; i <= count; i++) { \
	        if (length(line " " words[i]) > 80) { print line; line = sprintf("%22s", "") } \
	        line = line " " words[i] \
	    } \
	    print line \
	}' $(MAKEFILE_LIST)

setup: .venv/.installed  ## Create .venv and install the project, if missing or out of date; TORCH=cpu: no CUDA

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo "installing PyTorch and the other packages into .venv"
	$(PY) -m pip install --quiet --constraint constraints.txt uv && .venv/bin/uv pip install --compile-bytecode --python $(PY) $(TORCH_BACKEND) $(PACKAGES) \
	    || $(PY) -m pip install $(TORCH_INDEX) $(PACKAGES)  # where uv, which does not read pip's settings, finds no index
	touch $@

demo: setup  ## Sweep three models and two activations over small offline images, and print the table
	$(PY) train.py -m model=softmax,mlp,cnn_pool activation=relu,selu data=digits epochs=5

watch: setup  ## Follow the runs of the last sweep; SWEEP=NAME
	@$(PY) -m sweeper watch $(SWEEP)

# SWEEP=NAME limits these to one sweep.
summary: setup  ## Print the table of all runs; write outputs/summary.csv and outputs/summary.md; SWEEP=NAME
	@$(PY) -m sweeper summary $(SWEEP)

effects: setup  ## Print which training trick helps, and by how much; SWEEP=NAME
	@$(PY) -m sweeper effects $(SWEEP)

curves: setup  ## Plot learning curves of all runs into outputs/curves; SWEEP=NAME
	@$(PY) -m sweeper curves $(SWEEP)

best: setup  ## Re-evaluate the best run for each dataset; SWEEP=NAME data.root=DIR device=cpu
	@$(PY) -m sweeper evaluate --best $(if $(SWEEP),--sweep $(SWEEP)) $(foreach key,data.root data.cache device,$(if $($(key)),'$(key)=$($(key))'))

report: setup  ## Write outputs/report.html: the answer, effects, results, curves, mistakes, failures; SWEEP=NAME
	@$(PY) -m sweeper report $(SWEEP)

tensorboard: setup  ## Show the runs in TensorBoard, live; SWEEP=NAME
	@$(PY) -m sweeper tensorboard $(SWEEP)

# The scripts read their settings from the environment, to which make exports the variables of its command line:
# `make exercises DATA=FOLDER SEEDS=0 EPOCHS=10`.
exercises: setup  ## Train the exercises, print the results; DATA=FOLDER SEEDS=0,1,2,3,4 EPOCHS=30 RESNET_EPOCHS=10; SMALL=1: few images
	@PYTHON=$(PY) scripts/exercises.sh

exercises-test: setup  ## Run the exercises on few images, write their pages from them, check these; ten minutes
	@PYTHON=$(PY) scripts/exercises_test.sh

practice: exercises  # the name in version 0.1

tricks-study: setup  ## Measure the tricks on airbench_small; DATA=FOLDER SEEDS=0,1,2,3,4 WHAT=small or all; rerun to resume
	@PYTHON=$(PY) scripts/tricks.sh

transfer: setup  ## Fine-tune from half of the classes to the other half, and train from scratch; DATA=FOLDER
	@PYTHON=$(PY) scripts/transfer.sh

segmentation: setup  ## Segment from ImageNet weights, from those of a classifier of digits, and from scratch; WEIGHTS=FILE
	@PYTHON=$(PY) scripts/segmentation.sh

docs-data: setup  ## Turn finished runs into the files that docs/ is written from; NAME=exercises OUT=FOLDER ADD=1 UNTIMED=1
	@$(PY) -m benchmarks.pages.records $(NAME) $(OUT) $(if $(ADD),--add) $(if $(UNTIMED),--untimed)

docs-exercises: setup  ## Write the pages with measured results from those files, their pictures included
	@$(PY) -m benchmarks.pages

test: setup  ## Run the tests
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(PY) -m pytest --ignore=tests/slurm --numprocesses auto --dist worksteal

slurm-test: setup  ## Run the cluster tests on a temporary Slurm (root on Debian)
	@trap 'exit 130' INT TERM; trap 'tests/slurm/cluster.sh down' EXIT; \
	tests/slurm/cluster.sh up && $(PY) -m pytest tests/slurm

bench: setup  ## Measure training speed on DATA=FOLDER; write docs/performance.md
	@$(PY) benchmarks/training.py $(or $(DATA),data/cifar10-jpeg)

bench-summary: setup  ## Measure the time and memory of a summary of 10,000 runs
	@$(PY) benchmarks/summary.py

bench-sweep: setup  ## Measure the overhead of sweeps; DATA=FOLDER adds an image folder
	@$(PY) benchmarks/sweep.py $(if $(DATA),--data $(DATA))

bench-slurm: setup  ## Measure the overhead of a cluster, on a temporary Slurm (root on Debian)
	@$(PY) benchmarks/slurm.py

bench-effects: setup  ## Simulate error rates of effects and the cost of seeds, into docs/simulations.md; ten minutes
	@OMP_NUM_THREADS=1 $(PY) -m benchmarks.simulations

bench-tricks: setup  ## Measure what each trick costs per step; write docs/tricks.md; half an hour
	@OMP_NUM_THREADS=1 $(PY) -m benchmarks.tricks

lint: setup  ## Check style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup  ## Format the code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
