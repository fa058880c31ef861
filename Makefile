# The same steps as scripts/test, one by one. `scripts/setup planner,cli,examples,plots,docs,dev` makes .venv first.
PATH := $(CURDIR)/.venv/bin:$(PATH)
SHELL := /bin/sh

.PHONY: check fix protos reference demo test

check: ## what CI runs
	ruff format --check .
	ruff check .
	mypy
	scripts/protos --check
	scripts/docs
	pytest -n 3 --dist loadfile -m "not timed and not long"
	pytest -n 2 --dist loadfile -m "timed and not long"

fix: ## format, and mend what can be mended
	ruff format .
	ruff check --fix .

protos: ## compile protos/ into shared/circinus/v1
	scripts/protos

reference: ## write what is written from the code: pages of the reference, schemas, alarms
	for script in cli_docs cli_schema config_docs api_docs python_docs metrics_docs alarms grafana; do \
	    python scripts/$$script.py || exit 1; done

demo: ## the main job, end to end
	scripts/demo

test: ## set all up and run the checks
	scripts/test
