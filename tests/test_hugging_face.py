"""Captioners of transformers: two roads to every number, on tiny random models; no download.

Skipped where PyTorch or transformers is missing, which are the extra "hugging-face" (requirements-hugging-face.txt).

Letters: T words, K pieces, G*G patches, D channels.
"""

import re
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra hugging-face is not installed")
transformers = pytest.importorskip("transformers", reason="the extra hugging-face is not installed")

import tiny_transformers as tiny  # noqa: E402
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling  # noqa: E402

from s2vt import explain  # noqa: E402
from s2vt.captioning import decoding  # noqa: E402
from s2vt.errors import UserError  # noqa: E402
from s2vt.hugging_face import captioner  # noqa: E402
from s2vt.hugging_face.placing import geometry_of  # noqa: E402
from s2vt.saliency.teacher_forcing import teacher_forcing  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
FAMILIES = ("vit_bert", "vit_gpt2", "blip", "git", "blip2", "llava")
IMAGE = "<image>"
PROMPTS = {"llava": f"the {IMAGE} red"}
# The pieces of a sentence, by hand: its words are the rows.
SENTENCE = "a red rings triangles"
WORD_PIECES = [["a"], ["red"], ["ring", "##s"], ["tri", "##ang", "##le", "##s"]]
SENTENCE_OF_BYTES = "a red rings"
BYTE_PIECES = [["a"], ["Ġred"], ["Ġring", "s"]]


class Plain:
    """A tiny captioner by transformers' own calls: one patch, one word at a time.

    Attributes:
        start: ids before the sentence, with one image token for LLaVA's image.
    """

    def __init__(self, name):
        self.name = name
        self.model, self.processor = getattr(tiny, name)()
        self.tokenizer = self.processor[1]
        self.image = self.tokenizer.convert_tokens_to_ids(IMAGE)
        prompt = self.tokenizer(PROMPTS.get(name, ""))["input_ids"]
        self.start = {"vit_bert": [2], "vit_gpt2": [0], "blip": [4], "git": [2], "blip2": [0], "llava": [0]}[
            name
        ] + prompt
        bytes_ = name in ("vit_gpt2", "blip2", "llava")
        self.sentence, pieces = (SENTENCE_OF_BYTES, BYTE_PIECES) if bytes_ else (SENTENCE, WORD_PIECES)
        if name == "llava":  # after a prompt, the first word has a space before it
            pieces = [["Ġa"], *pieces[1:]]
        self.ids = [self.tokenizer.convert_tokens_to_ids(of_word) for of_word in pieces]

    def captioner(self, **options):
        return captioner(self.model, self.processor, prompt=PROMPTS.get(self.name, ""), **options)

    def pixels(self, picture=PICTURE):
        return self.processor[0](images=picture, return_tensors="pt")["pixel_values"]

    @property
    def vision(self):
        model = self.model
        return {"git": lambda: model.git.image_encoder, "llava": lambda: model.model.vision_tower}.get(
            self.name, lambda: model.encoder if "vit" in self.name else model.vision_model
        )()

    def tokens(self):
        """Image tokens (C + G*G, D)."""
        if self.name == "llava":
            return self.model.get_image_features(pixel_values=self.pixels()).pooler_output[0]
        return self.vision(self.pixels()).last_hidden_state[0]

    def tokens_of_one(self, i):
        """Image tokens if the encoder reads patch i alone, and the class token: by a mask, or layer by layer."""
        if "vit" in self.name:
            mask = torch.zeros((1, 1 + (self.model.config.encoder.image_size // self.patch) ** 2), dtype=torch.long)
            mask[0, [0, 1 + i]] = 1
            return self.vision(self.pixels(), attention_mask=mask).last_hidden_state[0, [0, 1 + i]]
        vision = getattr(self.vision, "vision_model", self.vision)
        x = vision.embeddings(self.pixels())[:, [0, 1 + i]]
        x = vision.pre_layrnorm(x) if hasattr(vision, "pre_layrnorm") else x
        if self.name == "llava":
            for layer in vision.encoder.layers[:-1]:
                x = layer(x, attention_mask=None)
            return self.model.model.multi_modal_projector(x[:, 1:])[0]
        return vision.post_layernorm(vision.encoder(inputs_embeds=x).last_hidden_state)[0]

    @property
    def patch(self):
        return self.model.config.encoder.patch_size

    def logits(self, tokens, said):
        """Of the word after those said, (V,), from image tokens (L, D)."""
        model, tokens = self.model, tokens[None]
        ids = torch.tensor([[*self.start, *said]])
        if "vit" in self.name:
            return model(encoder_outputs=BaseModelOutput(tokens), decoder_input_ids=ids).logits[0, -1]
        if self.name == "blip":
            attended = torch.ones(tokens.shape[:2], dtype=torch.long)
            made = model.text_decoder(input_ids=ids, encoder_hidden_states=tokens, encoder_attention_mask=attended)
            return made.logits[0, -1]
        if self.name == "git":
            read = torch.cat([model.git.visual_projection(tokens), model.git.embeddings(input_ids=ids)], dim=1)
            L, n = tokens.shape[1], read.shape[1]
            mask = torch.full((n, n), -torch.inf).triu(1)
            mask[:L, :L] = 0  # patches see each other, words what is before them
            return model.output(model.git.encoder(read, attention_mask=mask[None, None]).last_hidden_state)[0, -1]
        if self.name == "blip2":
            queries = model.qformer(query_embeds=model.query_tokens, encoder_hidden_states=tokens)[0]
            read = torch.cat([model.language_projection(queries), model.get_input_embeddings()(ids)], dim=1)
            return model.language_model(inputs_embeds=read).logits[0, -1]
        image = BaseModelOutputWithPooling(pooler_output=list(tokens))
        return model(input_ids=self.with_images(ids, tokens.shape[1]), mm_encoder_outputs={"image": image}).logits[
            0, -1
        ]

    def with_images(self, ids, number):
        """Ids whose image token is repeated."""
        return torch.tensor([[j for i in ids[0].tolist() for j in [i] * (number if i == self.image else 1)]])

    def logits_of_picture(self, said):
        """Of the word after those said, (V,), by the model's own forward pass of the picture's pixels."""
        ids, pixels = torch.tensor([[*self.start, *said]]), self.pixels()
        if "vit" in self.name:
            return self.model(pixel_values=pixels, decoder_input_ids=ids).logits[0, -1]
        if self.name == "blip2":
            ids = torch.tensor([[self.image] * 2 + ids[0].tolist()])
        if self.name == "llava":
            ids = self.with_images(ids, 16)
        return self.model(pixel_values=pixels, input_ids=ids).logits[0, -1]

    def nll_and_kl(self, tokens):
        """Losses of each word, the sums over its pieces, (T,) each, from image tokens (L, D)."""
        said, losses = [], []
        for of_word in self.ids:
            nll = kl = 0.0
            for piece in of_word:
                log_q = torch.log_softmax(self.logits(tokens, said).double(), dim=-1)
                log_p = torch.log_softmax(self.logits_of_picture(said).double(), dim=-1)
                nll, kl = nll - log_q[piece].item(), kl + (log_p.exp() * (log_p - log_q)).sum().item()
                said.append(piece)
            losses.append((nll, kl))
        return np.array(losses).T


@pytest.fixture(scope="module", params=FAMILIES)
def plain(request):
    return Plain(request.param)


# --- numbers ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def expected_losses(plain, tokens):
    """nll and kl (T, 1, G, G) by the plain loop, of the tokens of each patch alone."""
    losses = np.stack([plain.nll_and_kl(of_patch) for of_patch in tokens], axis=-1)  # (2, T, G*G)
    G = round(len(tokens) ** 0.5)
    return losses.reshape(2, -1, 1, G, G)


def assert_losses(found, expected):
    nll, kl = expected
    assert nll.std(axis=(1, 2, 3)).min() > 1e-3  # patches differ
    np.testing.assert_allclose(found.nll, nll, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(found.kl, kl, rtol=2e-3, atol=2e-5)


def test_one_patch_alone_for_the_decoder(plain):
    with torch.no_grad():
        tokens = plain.tokens()
    patches = tokens[len(tokens) - round(len(tokens) ** 0.5) ** 2 :]  # without class tokens, which come first
    found = explain(plain.captioner(), PICTURE, plain.sentence)
    assert found.words == tuple(plain.sentence.split())
    assert_losses(found, expected_losses(plain, [patch[None] for patch in patches]))


def test_one_patch_alone_in_the_encoder(plain):
    adapter = plain.captioner(alone="encoder")
    with torch.no_grad():
        tokens = [plain.tokens_of_one(i) for i in range(adapter.grid.num_cells)]
    assert_losses(explain(adapter, PICTURE, plain.sentence), expected_losses(plain, tokens))


@pytest.mark.parametrize("alone", ["decoder", "encoder"])
def test_all_patches_are_read_as_the_model_reads_the_picture(plain, alone):
    """With the class tokens."""
    adapter = plain.captioner(alone=alone)
    swapped, ids = adapter.vocabulary.swapped, [piece for of_word in plain.ids for piece in of_word]
    state = adapter.encode(adapter.descriptors(PICTURE)[None])
    found = adapter.step.along(state, [swapped(i) for i in ids])[0]
    order = [swapped(w) for w in range(found.shape[1])]
    with torch.no_grad():
        expected = np.stack([plain.logits_of_picture(ids[:k]).numpy() for k in range(len(ids) + 1)])
    np.testing.assert_allclose(found[:, order], expected, rtol=1e-4, atol=2e-5, strict=True)


def test_the_caption_is_that_of_generate():
    for name in ("vit_bert", "vit_gpt2", "blip", "git", "blip2"):
        plain = Plain(name)
        adapter = plain.captioner()
        said = decoding.greedy(adapter, adapter.descriptors(PICTURE)[None], 5)[0]
        with torch.no_grad():
            made = plain.model.generate(pixel_values=plain.pixels(), max_new_tokens=5, do_sample=False)[0].tolist()
        before = adapter.step.before
        made = made[len(before) :] if made[: len(before)] == before else made
        expected = made[: made.index(adapter.vocabulary.end)] if adapter.vocabulary.end in made else made
        assert [adapter.vocabulary.swapped(i) for i in said] == expected, name


def test_one_pass_for_all_words_of_a_batch_of_patches(monkeypatch):
    plain = Plain("vit_bert")
    adapter, passes = plain.captioner(), []
    say = adapter.family.say

    def counted(tokens, ids, last):
        passes.append((tuple(tokens.shape), tuple(ids.shape), last))
        return say(tokens, ids, last)

    monkeypatch.setattr(adapter.family, "say", counted)
    v, y = adapter.descriptors(PICTURE), adapter.vocabulary.read(SENTENCE, 20).indices
    for *_, logits in teacher_forcing(adapter.encode, adapter.step, v, [y], memory_budget=20_000):
        assert type(logits) is np.ndarray and logits.dtype == np.float32
    (trial, *chunks) = passes
    assert trial == ((1, 1, 10), (1, 8), 8)  # K = 8 pieces: the start and seven of them are read
    of_a_row = 4 * (2 * 20 + 4 * 10 + 3 * 8 * 19)
    rows = [shape[0] for shape, *_ in chunks]
    assert 20_000 // of_a_row == 9 and rows == [8, 8]
    assert [each[1:] for each in chunks] == [((n, 8), 8) for n in rows]


# --- words ------------------------------------------------------------------------------------------------------------


def test_pieces_by_hand():
    vocabulary = captioner(*tiny.blip()).vocabulary
    read = vocabulary.read("A red ring, triangles!", 9)
    assert read.words == ("a", "red", "ring", "triangles") and read.starts == (0, 1, 2, 3)
    assert [vocabulary.words[i] for i in read.indices] == ["a", "red", "ring", "tri", "##ang", "##le", "##s"]
    assert vocabulary.said(read.indices) == read
    assert vocabulary.words[0] == "[SEP]" and vocabulary.words[3] == "[PAD]"  # they change places: END is 0
    assert vocabulary.said([0]).words == ()


def test_after_a_prompt_the_first_word_has_its_space():
    model, processor = tiny.vit_gpt2()
    first = [captioner(model, processor, prompt=prompt).vocabulary.read("red", 9) for prompt in ("", "a ring")]
    words = captioner(model, processor).words
    assert [[words[i] for i in read.indices] for read in first] == [["red"], ["Ġred"]]
    assert captioner(model, processor, prompt="a ring").step.before == [0, *processor[1]("a ring")["input_ids"]]


# --- places -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(200, 120), (90, 230), (128, 128)])
@pytest.mark.parametrize("processor, side", [(tiny.squash(24), 24), (tiny.crop(37, 24), 24), (tiny.crop(24, 24), 24)])
def test_a_processor_says_itself_where_its_pixels_come_from(processor, side, size):
    """The values of the source are its pixels' positions, so those of the input are positions in the source."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    picture = np.stack([x, y, 0 * x], axis=2).astype(np.uint8)
    made = processor(images=picture, do_normalize=False, do_rescale=False, return_tensors="np")["pixel_values"][0]
    adapter_grid = captioner(*tiny.vit_bert()).grid
    geometry = geometry_of(processor, width, height, adapter_grid)
    inner = np.arange(2, side - 2)  # a resize repeats the picture's rim
    points = geometry.to_source(np.stack(np.meshgrid(inner + 0.5, inner + 0.5), axis=-1)) - 0.5
    for axis in (0, 1):
        error = made[axis][np.ix_(inner, inner)] - points[..., axis]
        assert abs(error).max() < 1.5 and abs(error.mean()) < 0.6


@pytest.mark.parametrize("name", ["vit_bert", "vit_gpt2", "blip"])
def test_a_cells_centre_is_the_middle_of_the_pixels_that_its_patch_reads(name):
    """Each column of pixels is changed, and the patches of the first row whose embeddings change are noted."""
    plain = Plain(name)
    grid, embeddings = plain.captioner().grid, plain.vision.embeddings
    read = {k: [] for k in range(grid.side)}
    with torch.no_grad():
        before = embeddings(torch.zeros(1, 3, grid.input_size, grid.input_size))
        for column in range(grid.input_size):
            pixels = torch.zeros(1, 3, grid.input_size, grid.input_size)
            pixels[..., column] = 1
            changed = (embeddings(pixels) - before).abs().amax(dim=-1)[0, 1 : 1 + grid.side] > 1e-3
            for k in np.flatnonzero(changed):
                read[k].append(column)
    np.testing.assert_array_equal([np.mean(columns) for columns in read.values()], grid.centres())


def test_the_map_lies_where_the_patch_is():
    plain = Plain("vit_gpt2")
    found = explain(plain.captioner(), PICTURE, "a red")
    assert found.explanation.geometry.crop == (64 * 6 / 27, 40 / 17, 64 * 21 / 27, 40 * 16 / 17)  # 27 x 17, 15 of it
    row, column = np.unravel_index(np.argmin(found.nll[1, 0]), (3, 3))
    x, y = found.explanation.geometry.to_source((5 * column + 2.5, 5 * row + 2.5))
    e = found.map("red")
    assert e.shape == (40, 64) and e[int(y), int(x)] > 0.8


# --- a new user -------------------------------------------------------------------------------------------------------


def test_ten_lines_of_the_docs(tmp_path, monkeypatch):
    """docs/usage.md, with a folder in the place of the hub's name, and words that its tokenizer knows."""
    section = (ROOT / "docs" / "usage.md").read_text().split("\n### Captioners of Hugging Face\n")[1]
    (code, *_) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 10
    model, processor = tiny.blip()
    for part in (model, *processor):
        part.save_pretrained(tmp_path / "blip")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PICTURE).save("photo.jpg")
    for of_docs, here in (
        ("Salesforce/blip-image-captioning-base", "blip"),
        ("a dog runs on the beach", SENTENCE),
        ("a dog", "red rings"),
    ):
        assert of_docs in code
        code = code.replace(of_docs, here)
    names = {}
    exec(compile(code, "docs/usage.md", "exec"), names)
    assert (tmp_path / "photo.html").read_text().startswith("<!DOCTYPE html>")
    plain = explain(captioner(model, processor), "photo.jpg", SENTENCE)
    np.testing.assert_array_equal(names["explained"].nll, plain.nll)


# --- mistakes ---------------------------------------------------------------------------------------------------------


def swin(alone):
    """A model whose encoder shifts windows over its patches."""
    tokenizer = tiny.word_pieces()
    encoder = transformers.SwinConfig(
        image_size=16, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=2
    )
    decoder = transformers.BertConfig(**tiny.text(tokenizer, 12), is_decoder=True, add_cross_attention=True)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id = 2, 3
    model = transformers.VisionEncoderDecoderModel(config=config)
    return captioner(model, (tiny.squash(16), tokenizer), alone=alone)


def test_an_encoder_without_a_class_token():
    adapter = swin("decoder")
    assert adapter.num_class_tokens == 0 and adapter.grid.side == 2 and adapter.grid.stride == 8
    assert explain(adapter, PICTURE, "a red ring").nll.shape == (3, 1, 2, 2)


def no_start():
    model, processor = tiny.vit_bert()
    for config in (model.generation_config, model.config, model.config.decoder):
        config.decoder_start_token_id = config.bos_token_id = None
    return captioner(model, processor)


def oblong():
    model, (_, tokenizer) = tiny.vit_bert()
    processor = transformers.ViTImageProcessor(size={"height": 24, "width": 30})
    return captioner(model, (processor, tokenizer))


def slow_tokenizer():
    return types.SimpleNamespace(is_fast=False, eos_token_id=3, sep_token_id=3)


def of_another_kind():
    with tempfile.TemporaryDirectory() as folder:
        transformers.ViTConfig(**tiny.vision(24, 6, 10)).save_pretrained(folder)
        captioner(folder)


def padding():
    model, (_, tokenizer) = tiny.vit_bert()
    return explain(captioner(model, (tiny.crop(18, 24), tokenizer)), PICTURE, "a ring")


@pytest.mark.parametrize(
    ("call", "facts"),
    [
        (lambda: captioner("no/such-folder"), ["cannot read no/such-folder"]),
        (lambda: captioner(tiny.vit_bert()[0]), ["VisionEncoderDecoderModel", "captioner(model, processor)"]),
        (lambda: captioner(tiny.vit_bert()[0], object()), ["object", "image_processor and tokenizer"]),
        (lambda: captioner(torch.nn.Linear(2, 3), tiny.blip()[1]), ["Linear", "BlipForConditionalGeneration"]),
        (lambda: captioner(tiny.blip()[0], (tiny.squash(20), slow_tokenizer())), ["fast tokenizer"]),
        (of_another_kind, ["is of the kind 'vit'", "vision-encoder-decoder, blip, git"]),
        (lambda: captioner(*tiny.blip(), alone="both"), ["alone='both'", "'decoder', 'encoder'"]),
        (lambda: captioner(*tiny.llava()), ["the image once", "prompt="]),
        (lambda: swin("encoder"), ["alone='decoder'"]),
        (no_start, ["decoder_start_token_id"]),
        (oblong, ["(3, 24, 30)", "(3, S, S)"]),
        (padding, ["28x18", "24x24", "without padding"]),
        (lambda: explain(captioner(*tiny.blip()), PICTURE, "a red zebra"), ["no tokens for 'zebra'"]),
        (lambda: explain(captioner(*tiny.blip()), PICTURE, "a " * 31), ["31 tokens", "at most 30"]),
        (lambda: explain(captioner(*tiny.blip(), max_words=2), PICTURE, "a rings"), ["3 tokens", "at most 2"]),
        (lambda: explain(captioner(*tiny.blip()), PICTURE, "?!"), ["no words"]),
        (lambda: explain(captioner(*tiny.blip()), PICTURE, "a ring", map="gradient"), ["gives nll, kl, likelihood"]),
        (lambda: explain(captioner(*tiny.blip()), PICTURE, "a ring", instead="a circle"), ["in pieces"]),
    ],
)
def test_a_mistake_is_one_clear_line(call, facts):
    with pytest.raises(UserError) as caught:
        call()
    assert all(fact in str(caught.value) for fact in facts), caught.value
    assert "\n" not in str(caught.value)


def test_without_the_packages_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="transformers is not installed.*requirements-hugging-face.txt"):
        captioner("name")
