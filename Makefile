# implops: every chore has a name. `make demo` and `make test` do all set-up themselves (as root on Debian 12).
.DELETE_ON_ERROR:
SHELL := /bin/sh
PY := .venv/bin/python
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup demo test test-unit test-lab test-full kill-test power-test lint bench bench-check bench-deploy bench-import mutation docs offline-kit fresh-test clean

help:           ## this list
	@sed -n 's/^\([a-z-]*\): .*##/  make \1  -/p' Makefile

setup: .venv/.ready   ## Debian packages and the virtual environment (says what it installs)

.venv/.ready: pyproject.toml .ci/setup
	.ci/setup
	@touch $@

demo: setup     ## the whole path once on four real hosts; documents in demo-out/ (KEEP=1 leaves the lab running)
	$(PY) examples/demo/run.py $(if $(KEEP),--keep)

test: setup lint test-unit test-lab   ## everything: lint, unit tests, lab stories

test-unit: setup
	$(PY) -m pytest tests/unit -n 2 --dist loadfile

test-lab: setup
	$(PY) -m pytest tests/lab -m "not full" -n 2 --dist loadfile

test-full: setup     ## the long stories too (every point of a kill, every fault)
	.ci/setup full
	$(PY) -m pytest tests

kill-test: setup     ## deployments killed (SIGKILL) sixty times and resumed: the end must be that of an undisturbed one
	$(PY) -m pytest tests/lab/test_kill_story.py -s

power-test: setup    ## a deployment whose hosts lose their power in every step, resumed each time: the same end
	$(PY) -m pytest tests/lab/test_power_story.py -s

lint: setup     ## ruff, mypy --strict, direction of imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: bench-check bench-deploy bench-import   ## all benchmarks

bench-check: setup   ## implops check against the bare floor and peers on 20 lab hosts, and on 100
	$(PY) bench/bench_check.py

bench-import: setup  ## implops import against bare psql / LOAD DATA on the same path (pgloader in the same run)
	command -v pgloader >/dev/null || apt-get install -y -qq pgloader >/dev/null
	$(PY) bench/bench_import.py

bench-deploy: setup   ## implops deploy against the bare floor, and its second run against pyinfra's CLI and Ansible
	$(PY) bench/bench_deploy.py

mutation: setup      ## every check given its fault on real hosts, healthy hosts of Debian 12 and 13; writes docs/mutation.md
	PYTHONPATH=tests:tests/lab IMPLOPS_OPERATOR=mutation/M001 $(PY) -m mutation

docs: setup     ## regenerate the generated pages
	$(PY) -m implops.check.reference > docs/checks.md

offline-kit: setup   ## implops itself for a laptop without a network: one file in dist/
	.ci/offline-kit

fresh-test:     ## make demo and make test in a minimal Debian 12 root
	.ci/fresh-test

clean:          ## remove what make made here (a running lab is brought down first)
	@for site in demo-site/site.yml; do [ ! -e $$site ] || .venv/bin/implops lab down $$site; done
	rm -rf .venv demo-site demo-out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
