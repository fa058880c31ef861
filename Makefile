# The same steps as scripts/test, one by one. `scripts/setup planner,cli,examples,plots,dev` makes .venv first.
PATH := $(CURDIR)/.venv/bin:$(PATH)
SHELL := /bin/sh

.PHONY: check fix protos demo test

check: ## what CI runs
	ruff format --check .
	ruff check .
	mypy
	scripts/protos --check
	pytest -n 2 --dist loadfile -m "not alone and not long"
	pytest -m "alone and not long"

fix: ## format, and mend what can be mended
	ruff format .
	ruff check --fix .

protos: ## compile protos/ into shared/circinus/v1
	scripts/protos

demo: ## the main job, end to end
	scripts/demo

test: ## set all up and run the checks
	scripts/test
