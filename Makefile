# Two commands are the whole set-up: `make demo` and `make test`. Either may come first.
BIN := .venv/bin
# A test process each for two cores; every one of them uses one thread.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

.PHONY: help demo install dev test test-all lint format bench docs clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

install: ## make .venv with Bottega in it
	@scripts/install core

dev: ## the same, with what the tests need
	@scripts/install dev

demo: install ## train, judge and show three models on real data, in about five minutes
	@$(BIN)/bottega demo

test: dev ## the fast tests, under 15 minutes on 2 cores
	@$(TEST) -m "not slow"

test-all: dev ## every test
	@$(TEST)

lint: dev ## style, types, import contract, help text in the docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m bottega.cli.helptext --check docs/reference
	@if command -v tsc >/dev/null; then tsc -p .; else echo "no tsc here: the types of the studio's page are not checked"; fi
	@! grep -iE '^(torchvision|torchaudio)' constraints.txt || { echo "constraints.txt names torchvision or torchaudio"; exit 1; }

format: dev ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format .

bench: dev ## the measured claims; see benchmarks/README.md
	@$(BIN)/python -m benchmarks

docs: dev ## the documentation as pages under site/
	@$(BIN)/python -m bottega.cli.helptext --write docs/reference
	@$(BIN)/zensical build

clean: ## forget everything that was made, but not your runs
	rm -rf .venv site dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
