# Everything is set up by the first target that needs it, in .venv; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

COHORT ?=
STUDIES := leave-one-site-out cross-site heterogeneity fairness learning-curve

.PHONY: demo studies test test-slow lint benchmarks benchmark-learners benchmark-classical benchmark-finetuning clean

demo: $(READY)  ## four hospitals, one exact head, on the embedded synthetic cohort
	$(BIN)/dermafed simulate --out runs/demo --overwrite

studies: $(READY)  ## every study and its report: make studies COHORT=path/to/HAM10000, or the embedded cohort
	for study in $(STUDIES); do \
		$(BIN)/dermafed study $$study $(if $(COHORT),"$(COHORT)") --out runs/studies/$$study && \
		$(BIN)/dermafed report runs/studies/$$study --overwrite || exit 1; done

test: $(READY)  ## the default tests, two at a time
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: $(READY)  ## the slow ones
	$(BIN)/pytest -m slow

lint: $(READY)  ## ruff and mypy, strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmarks: $(READY)  ## speed against named references, written to benchmarks/results
	$(BIN)/python -m benchmarks.extraction
	$(BIN)/python -m benchmarks.simulation_overhead
	$(BIN)/python -m benchmarks.server_sum
	$(BIN)/python -m benchmarks.coverage
	$(BIN)/python -m benchmarks.training_loop
	$(BIN)/python -m benchmarks.round_latency

benchmark-learners: $(READY)  ## every learner on real features: make benchmark-learners COHORT=path/to/HAM10000
	$(BIN)/python -m benchmarks.learners "$(COHORT)"

benchmark-classical: $(READY)  ## backbones x classifiers x imbalance, hours: make benchmark-classical COHORT=path/to/HAM10000
	$(BIN)/python -m benchmarks.classical "$(COHORT)"

benchmark-finetuning: $(READY)  ## every strategy beside pooled images, hours: make benchmark-finetuning COHORT=path/to/HAM10000
	$(BIN)/python -m benchmarks.finetuning "$(COHORT)"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[simulation,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
