# Two commands set this project up: `make demo` and `make test`.
# Needed: Rust, Python 3.10 or newer, make. Everything else is installed into build/.

PYTHON ?= python3
CACHE_HOME := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)
# One target directory for every checkout on this machine: the engine takes a quarter of
# an hour to compile, so it is compiled once.
export CARGO_TARGET_DIR ?= $(CACHE_HOME)/pyrite/target

VENV := build/venv
BIN := $(VENV)/bin
export PROTOC := $(abspath $(BIN)/protoc)
STAMP := $(VENV)/.tools-installed

.PHONY: demo test wheel install lint bench clean-build

demo: install
	@$(BIN)/python tools/demo.py

test: install
	@$(BIN)/python tools/run_tests.py

lint: $(STAMP)
	@$(BIN)/python tools/run_tests.py --only lint

bench: install
	@$(BIN)/python benchmarks/sample_app/run.py

$(STAMP): tools/requirements.txt
	@echo "[1/4] creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tools/requirements.txt
	@touch $@

wheel: $(STAMP)
	@echo "[2/4] building the wheel (a first build compiles the engine: about 15 minutes on two cores)"
	@rm -rf build/wheels
	@$(BIN)/maturin build --release --quiet --strip --out build/wheels

install: wheel
	@echo "[3/4] installing the wheel into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps build/wheels/*.whl
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check build/wheels/*.whl
