# The torch build: `make install TORCH=torch` takes whatever the registry holds newest, CUDA included.
TORCH ?= torch==2.13.0
# What is installed beside vasa itself; ray and storage are for batches on many machines.
EXTRAS ?= test,dev,provenance
# Machines round differently. Another number of threads, float32 for bfloat16 and older instruction
# sets left the worst frame at 41.0 dB, 0.985 and 0.0015; the smallest changes of one option that
# were tried (guidance 1.2 for 1.0, crf 20 for 18, no watermark) each broke one of these limits.
REGRESS_LIMITS ?= --min-psnr 38 --min-ssim 0.98 --max-drift 0.003
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

REGRESS = $(BIN)/vasa batch examples/regress/jobs.jsonl --size 256 --provenance off \
	-o "out/regress/{id}.mp4" --force

.PHONY: install demo test lint types regress regress-golden bench workers wheel clean teacher

# Installs what is asked for whenever it is called; the others only see that something is installed.
install:
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: vasa needs Python 3.11 or newer; remove $(VENV) and give PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "installing $(TORCH), then vasa with its extras $(EXTRAS) (some minutes the first time)"
	@$(PIP) install "$(TORCH)"
	@$(PIP) install --editable ".[$(EXTRAS)]"
	@touch $(STAMP)

$(STAMP): setup.cfg pyproject.toml
	@$(MAKE) --no-print-directory install

demo: $(STAMP)
	@mkdir -p out
	$(BIN)/vasa render examples/portrait.jpg examples/speech.wav -o out/demo.mp4 --force

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/black --check vasa_cli tests examples
	$(BIN)/flake8 vasa_cli tests examples

types: $(STAMP)
	$(BIN)/mypy

wheel: $(STAMP)
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
regress: $(STAMP)
	@mkdir -p out/regress
	$(REGRESS)
	$(BIN)/vasa compare examples/regress/golden out/regress $(REGRESS_LIMITS) \
		--diff out/regress/diff.png --junit out/regress/report.xml

# How fast this machine renders, into out/bench; let nothing else run meanwhile.
bench: $(STAMP)
	$(BIN)/vasa bench examples/portrait.jpg examples/speech.wav --seconds 10 --seconds 30 -o out/bench

# After a change that is meant to be seen: renders the list and makes that the golden one.
regress-golden: $(STAMP)
	@rm -rf out/regress
	$(REGRESS)
	@rm -rf examples/regress/golden
	@mkdir -p examples/regress/golden
	cp out/regress/*.mp4 examples/regress/golden

# Renders the same twelve jobs with one worker and with two, each with its share of all cores.
workers: $(STAMP)
	@mkdir -p out
	@for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do \
		printf '{"id": "%d", "photo": "examples/portrait.jpg", "audio": "examples/speech.wav", "seed": %d}\n' \
			$$seed $$seed; \
	done >out/workers.jsonl
	@for n in 1 2; do \
		$(BIN)/vasa batch - --workers $$n -o "out/workers-$$n/{seed}.mp4" --force \
			<out/workers.jsonl || exit; \
	done

clean:
	rm -rf build dist out *.egg-info .mypy_cache .pytest_cache
	find vasa_cli tests examples -name __pycache__ -type d -exec rm -rf {} +
