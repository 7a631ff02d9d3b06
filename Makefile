# The torch build: `make install TORCH=torch` takes whatever the registry holds newest, CUDA included.
TORCH ?= torch==2.13.0
# Machines round differently: the decibels of the worst frame that still count as the same render.
REGRESS_PSNR ?= 35
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: install demo test lint types regress regress-golden wheel clean teacher

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: vasa needs Python 3.11 or newer; remove $(VENV) and give PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing $(TORCH), then vasa with its test and development tools (some minutes)"
	@$(PIP) install "$(TORCH)"
	@$(PIP) install --editable ".[test,dev]"
	@touch $@

demo: install
	@mkdir -p out
	$(BIN)/vasa render examples/portrait.jpg examples/speech.wav -o out/demo.mp4 --force

test: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/black --check vasa_cli tests examples
	$(BIN)/flake8 vasa_cli tests examples

types: install
	$(BIN)/mypy

wheel: install
	@rm -rf build
	$(PIP) wheel --no-deps --wheel-dir dist .

# An environment of its own for the teacher that labels training data: it needs an older numpy.
teacher: .teacher/.installed

.teacher/.installed:
	@$(PYTHON) -m venv .teacher
	@.teacher/bin/python -m pip --quiet --disable-pip-version-check install \
		"mediapipe==0.10.21" "numpy<2" imageio-ffmpeg
	@touch $@

# Renders the golden list and compares it frame by frame with examples/regress/golden.
regress: install
	@mkdir -p out/regress
	$(BIN)/vasa batch examples/regress/jobs.jsonl --size 256 -o "out/regress/{id}.mp4" --force
	$(BIN)/vasa compare examples/regress/golden out/regress --min-psnr $(REGRESS_PSNR) \
		--diff out/regress/diff.png --junit out/regress/report.xml

# After a change that is meant to be seen: renders the list and makes that the golden one.
regress-golden: install
	@rm -rf examples/regress/golden out/regress
	@mkdir -p examples/regress/golden
	$(BIN)/vasa batch examples/regress/jobs.jsonl --size 256 -o "out/regress/{id}.mp4" --force
	cp out/regress/*.mp4 examples/regress/golden

clean:
	rm -rf build dist out *.egg-info .mypy_cache .pytest_cache
	find vasa_cli tests examples -name __pycache__ -type d -exec rm -rf {} +
