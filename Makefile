# make demo       on the shipped weights: a saliency video, a storyboard, a page, a figure, and tables of scores
# make test       the tests that every change must pass
# make test-all   all tests: also the whole matrix of bad input, hundreds of kills, fuzzing, long runs
# make lint       ruff
# make bench      timings
# make clean      removes .venv and demo

PYTHON ?= python3
BIN := .venv/bin

DEMO_CLIP := video1050
DEMO_PICTURE := 002509

.PHONY: demo test test-all lint bench clean

demo: .venv/installed
	$(BIN)/python -m s2vt.synthetic --dataset MovingShapes --split test --limit 12
	$(BIN)/python -m s2vt.synthetic --dataset StillShapes --split test --limit 60
	$(BIN)/python preprocessing.py --dataset MovingShapes --split test --limit 12 --layer mixed_10
	$(BIN)/python preprocessing.py --dataset StillShapes --split test --limit 60
	mkdir -p demo
	$(BIN)/python run_s2vt.py --dataset MovingShapes --localize --checkpoint best --limit 12 > demo/MovingShapes.md
	$(BIN)/python run_s2vt.py --dataset StillShapes --localize --checkpoint best --limit 60 > demo/StillShapes.md
	$(BIN)/python visualization.py --dataset MovingShapes --media_id $(DEMO_CLIP) --checkpoint best \
		--sentence "a white circle appears while a yellow square disappears" --output demo/clip.mp4 --page
	$(BIN)/python visualization.py --dataset StillShapes --media_id $(DEMO_PICTURE) --checkpoint best \
		--sentence "a yellow triangle is above a green heart" --output demo/picture.png
	@cat demo/MovingShapes.md && echo && cat demo/StillShapes.md && echo
	@echo "video:      demo/clip.mp4"
	@echo "storyboard: demo/clip_storyboard.png"
	@echo "page:       demo/clip.html"
	@echo "picture:    demo/picture.png"
	@echo "tables:     demo/MovingShapes.md demo/StillShapes.md"

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: .venv/installed-dev
	$(BIN)/python -m pytest -m ""

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv demo

.venv/installed: requirements.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed; set PYTHON=')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt requirements-photos.txt
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	@touch $@
