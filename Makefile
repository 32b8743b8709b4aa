# Two commands do everything on a bare machine: `make demo` and `make test`. Nothing needs an activated environment.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Processes that share the tests, each up to 2.5 GB; 0: all in pytest's own.
WORKERS ?= 2
# Without a display pytest-xvfb starts one; Mesa draws in software.
export PYTHONUTF8 = 1

.PHONY: demo test lint bench docs docs-images install system constraints clean

demo: install
	$(BIN)/napari-mil demo

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks

# The pictures in README and docs, made from the sample slides in the real window.
docs-images: install
	$(BIN)/python -m docs.make_images

docs: install
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build --strict

install: system $(STAMP)

system:
	@sh .ci/system-packages

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "napari-mil needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
	  || { echo "Cannot make a virtual environment; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[encoders,formats,torchmil,wsidata,test,dev]'
	@touch $(STAMP)

# Pin what was resolved today: names and versions only, no index.
constraints:
	$(BIN)/uv pip compile --quiet --upgrade --all-extras --python $(BIN)/python --no-header --no-annotate \
	  --no-emit-index-url pyproject.toml --output-file constraints.txt

clean:
	rm -rf .venv demo-output dist
