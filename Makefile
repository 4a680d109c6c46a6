# `make help` lists the targets. Everything runs in .venv, which the first target that needs it creates.
PYTHON ?= $(shell command -v python3.11 || echo python3)
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo watch summary effects curves best report tensorboard test practice transfer slurm-test bench bench-sweep bench-summary bench-slurm lint format

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed  ## Create .venv and install, when missing or out of date

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## Sweep three models and two activations over small offline images, and print the table
	$(PY) train.py -m model=softmax,mlp,cnn_pool activation=relu,selu data=digits epochs=5

watch: setup  ## Follow the runs of the last sweep
	@$(PY) -m sweeper watch

summary: setup  ## Print the table of all runs; write outputs/summary.csv and outputs/summary.md
	@$(PY) -m sweeper summary

effects: setup  ## Say which training trick helps, and by how much
	@$(PY) -m sweeper effects

curves: setup  ## Draw learning curves of all runs into outputs/curves
	@$(PY) -m sweeper curves

best: setup  ## Load the best run of all and measure its test accuracy again
	@$(PY) -m sweeper evaluate --best

report: setup  ## Write outputs/report.html: question, results, effects, curves, failures, provenance
	@$(PY) -m sweeper report

tensorboard: setup  ## Open TensorBoard on all runs
	.venv/bin/tensorboard --logdir outputs/runs

# The practice: what is trained on, where its runs go, and how much of it. `make practice DATA=FOLDER SEEDS=0 EPOCHS=10`
OUT ?= outputs/practice
SEEDS ?= 0,1,2
EPOCHS ?= 30
RESNET_EPOCHS ?= 10
IMAGES = $(if $(DATA),data=image_folder data.root='$(DATA)',data=cifar10)
SMALL = seed=$(SEEDS) epochs=$(EPOCHS)

REQUIRE_IMAGES = test -d '$(DATA)/train' || { echo "error: DATA=FOLDER must name a folder with train/<class>/* and test/<class>/* images"; exit 1; }

# A sweep of the practice; where one has failed the others go on, and make fails at the end.
define SWEEP
failed=0; sweep() { name=$$1; shift; echo; echo "== $$name: $$*"; \
    $(PY) train.py -m sweep.name=$$name output_dir='$(OUT)' hydra/launcher=parallel "$$@" \
    || { code=$$?; [ $$code -eq 1 ] && failed=1 || exit $$code; }; }
endef

practice: setup  ## Train the practice's problems, read the results; DATA=FOLDER SEEDS=0,1,2 EPOCHS=30 RESNET_EPOCHS=10 (one seed)
	@$(if $(DATA),$(REQUIRE_IMAGES))
	@$(SWEEP); \
	sweep models experiment=p1_softmax,p2_mlp,p3_deep_mlp,p4_cnn,p5_cnn_pool $(IMAGES) $(SMALL); \
	sweep softmax_lr experiment=p1_softmax optimizer.lr=0.0003,0.001,0.003,0.01 $(IMAGES) $(SMALL); \
	sweep batch_norm experiment=o7_batch_norm $(IMAGES) $(SMALL); \
	sweep dropout experiment=p6_dropout $(IMAGES) $(SMALL); \
	sweep activations experiment=o8_activations $(IMAGES) $(SMALL); \
	sweep scratch experiment=p8_resnet18_scratch $(IMAGES) epochs=$(RESNET_EPOCHS) hydra.launcher.n_jobs=1; \
	sweep finetuned experiment=p7_resnet18_finetune $(IMAGES) epochs=$(RESNET_EPOCHS) hydra.launcher.n_jobs=1; \
	for name in batch_norm dropout activations; do echo; $(PY) -m sweeper effects $$name --output-dir '$(OUT)' || failed=1; done; \
	for read in summary curves report; do $(PY) -m sweeper $$read --output-dir '$(OUT)' || failed=1; done; \
	exit $$failed

transfer: OUT = outputs/transfer
transfer: setup  ## Fine-tune from half of the classes to the other half, 50 images each, and train from scratch; DATA=FOLDER
	@$(REQUIRE_IMAGES)
	@$(PY) benchmarks/halves.py '$(DATA)' '$(OUT)/halves' 50
	@$(SWEEP); half() { to=$$1 images='$(OUT)'/halves/$$2; shift 2; \
	    sweep $$to experiment=p8_resnet18_scratch data=image_folder "data.root=$$images" "$$@"; }; \
	half first_half first epochs=$(RESNET_EPOCHS) hydra.launcher.n_jobs=1; [ $$failed -eq 0 ] || exit $$failed; \
	run=$$($(PY) -m sweeper summary first_half --group-by none --columns run_id --format csv --output-dir '$(OUT)' | tail -1 | tr -d '"'); [ -n "$$run" ] || exit 1; \
	half transfer second data.val_size=50 epochs=$(EPOCHS) seed=$(SEEDS) model.freeze_backbone=false,true \
	    "model.weights=null,'$(OUT)/runs/$$run/checkpoints/best.pt'" 'sweep.exclude=[{model.weights:null,model.freeze_backbone:true}]'; \
	exit $$failed

test: setup  ## Run the tests
	$(PY) -m pytest --ignore=tests/slurm

slurm-test: setup  ## Run the tests on a real Slurm, which it starts and stops (root on Debian)
	@trap 'exit 130' INT TERM; trap 'tests/slurm/cluster.sh down' EXIT; \
	tests/slurm/cluster.sh up && $(PY) -m pytest tests/slurm

bench: setup  ## Measure what training costs, on DATA=FOLDER; write docs/performance.md
	@$(PY) benchmarks/training.py $(or $(DATA),data/cifar10-jpeg)

bench-summary: setup  ## Measure what a summary of 10,000 runs costs
	@$(PY) benchmarks/summary.py

bench-sweep: setup  ## Measure what sweeping costs; DATA=FOLDER adds an image folder
	@$(PY) benchmarks/sweep.py $(if $(DATA),--data $(DATA))

bench-slurm: setup  ## Measure what a cluster costs, on a throw-away Slurm (root on Debian)
	@$(PY) benchmarks/slurm.py

lint: setup  ## Check style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup  ## Format the code
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
