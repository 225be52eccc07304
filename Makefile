# The one list of tasks. `make demo ARGS="--seed 11"`, `make test ARGS="tests/contracts -x"`, `make target ROW=P14`.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check format bench target test-faults lock
bin := .venv/bin
ARGS ?=

help: ## say what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: ## build the environment from the lock, with what the tests need beside it
	@tools/setup test

demo: ## from nothing to a model that earns: watch the whole loop turn
	@tools/setup demo
	@$(bin)/offerloop demo $(ARGS)

test: ## run the tests, with coverage when all of them run
	@tools/setup test
	@tools/test $(ARGS)

check: ## format, lint, types, layers, secrets, advisories against what the lock names
	@tools/setup code
	@$(bin)/ruff format --check .
	@$(bin)/ruff check .
	@$(bin)/mypy
	@$(bin)/lint-imports
	@$(bin)/python tools/secrets
	@$(bin)/python tools/advisories

format: ## put the code into its form
	@tools/setup code
	@$(bin)/ruff format .
	@$(bin)/ruff check --fix .

bench: ## measure the speed rows and write docs/performance.md; some of them: make bench ARGS="--rows P7,P8"
	@tools/setup test
	@tools/setup peers
	@$(bin)/python -m bench.report $(ARGS)

target: ## measure one row of the targets: make target ROW=P14
	@tools/setup test
	@case "$(ROW)" in P2|P5|P6|P13|Q1) tools/setup peers ;; esac
	@$(bin)/python -m bench.target $(ROW) $(ARGS)

test-faults: ## kill, flood and corrupt things, and see that nothing acknowledged is lost
	@tools/setup test
	@$(bin)/python -m pytest -m faults tests $(ARGS)

lock: ## write requirements.lock anew from pyproject.toml
	@tools/setup code
	@.tools/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements.lock
	@! grep -n '://' requirements.lock
	@.tools/bin/uv pip compile bench/peers/requirements.in --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --output-file bench/peers/requirements.lock
	@! grep -n '://' bench/peers/requirements.lock
	@.tools/bin/uv pip compile bench/peers/obp.in --no-deps --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet --output-file bench/peers/obp.lock
	@! grep -n '://' bench/peers/obp.lock
