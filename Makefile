# Each target sets up what it needs in .venv; running it again installs nothing.
PYTHON ?= python3
BIN := .venv/bin
DEMO_DATA := data/demo
REVIEW ?= 0.2 0.8
WORKERS ?= 2
# The exact versions that the tests ran with; make CONSTRAINTS= takes the newest allowed ones.
CONSTRAINTS ?= constraints.txt
# What is imported is compiled then, once: to compile all that is installed takes over a minute.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check \
  $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo serve app test test-all check pictures gpu clean
help:
	@echo "make demo      render synthetic castings, train, test (3 to 5 minutes after installing)"
	@echo "make serve     the REST service on PORT=8000, for this machine"
	@echo "make app       the page on PORT=8501"
	@echo "               both: between REVIEW='0.2 0.8' a person decides; REVIEW= for nobody"
	@echo "make test      the fast tests, in WORKERS=2 processes"
	@echo "make test-all  the others: the slow ones, and those on the real images in CASTING_DATA"
	@echo "make check     lint and format"
	@echo "make pictures  draw the pictures of README and docs anew (5 minutes); needs chromium"
	@echo "make gpu       for a CUDA GPU: tests, speeds, whole trainings, in about 8 minutes;"
	@echo "               GPU_OPTIONS='--device cpu --tiny --data synthetic' shows that it works"
	@echo "               all install the versions in constraints.txt; CONSTRAINTS= for the newest"
	@echo "make clean     remove .venv, caches and the demo"

# 1,200 images for training and testing in about 10 s, then 6 epochs in 2 to 3 minutes.
demo: .venv/run.installed
	$(BIN)/python synthetic.py --out $(DEMO_DATA) --sizes medium large --castings 300 --copies 4 \
	  --photos 1 --unseen-castings 60 --image-size-px 160
	$(BIN)/python train.py --data $(DEMO_DATA) --out checkpoints/demo --overwrite --weights none \
	  --image-size 96 --epochs 6 --batch-size 16 --lr 7e-4 --schedule cosine --augment flip
	$(BIN)/python test.py --data $(DEMO_DATA) --checkpoint checkpoints/demo/best.pth --out results/demo
	@echo "castings: $(DEMO_DATA); figures: results/demo/*.png, checkpoints/demo/curves.png"

serve: .venv/deploy.installed
	$(BIN)/python serve.py --port $(or $(PORT),8000) $(if $(REVIEW),--review $(REVIEW))

app: .venv/deploy.installed
	$(BIN)/python app.py --port $(or $(PORT),8501) $(if $(REVIEW),--review $(REVIEW))

PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS)

test: .venv/dev.installed
	$(PYTEST) --dist worksteal $(PYTEST_OPTIONS)

test-all: .venv/dev.installed
	$(PYTEST) --dist loadfile --no-loadscope-reorder -m "slow or real" $(PYTEST_OPTIONS)

check: .venv/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

pictures: .venv/dev.installed
	$(BIN)/python -m docs.pictures

# An environment that has PyTorch for its GPU and the other packages is used as it is.
gpu:
	@if $(PYTHON) -c 'import filelock, hypothesis, pytest, seaborn, sklearn, torch, torchvision, tqdm; \
	    assert torch.cuda.is_available()' 2>/dev/null; \
	  then $(PYTHON) benchmark.py gpu $(GPU_OPTIONS); \
	  else $(MAKE) --no-print-directory .venv/dev.installed && \
	    $(BIN)/python benchmark.py gpu $(GPU_OPTIONS); fi

clean:
	rm -rf .venv .cache .pytest_cache .ruff_cache .hypothesis $(DEMO_DATA) checkpoints/demo results/demo

.venv/run.installed: requirements.txt $(CONSTRAINTS)
	@$(MAKE) --no-print-directory .venv/python
	$(INSTALL) -r requirements.txt
	@touch $@

.venv/deploy.installed: requirements.txt requirements-deploy.txt $(CONSTRAINTS)
	@$(MAKE) --no-print-directory .venv/python
	$(INSTALL) -r requirements-deploy.txt
	@touch $@ .venv/run.installed

.venv/dev.installed: requirements.txt requirements-deploy.txt requirements-dev.txt $(CONSTRAINTS)
	@$(MAKE) --no-print-directory .venv/python
	$(INSTALL) -r requirements-dev.txt
	@touch $@ .venv/deploy.installed .venv/run.installed

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Python's venv module is missing; on Debian or Ubuntu: apt install python3-venv"; exit 2; }
	@test -x $(BIN)/python || { echo "installing into .venv (torch is a large download)"; \
	  $(PYTHON) -m venv .venv; }
	@touch $@
