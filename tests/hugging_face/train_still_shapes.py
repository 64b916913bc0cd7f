"""Trains a small VisionEncoderDecoderModel on StillShapes with transformers' own classes, and scores its maps.

    python -m s2vt.synthetic --dataset StillShapes
    python tests/hugging_face/train_still_shapes.py --folder experiments/StillShapes-vit --epochs 40
    python tests/hugging_face/train_still_shapes.py --folder experiments/StillShapes-vit --epochs 0 --alone encoder

Proof that the adapter measures something: phrases such as "a red circle" are found in the pictures of the test split
(pointing game, protocol ours), beside the picture's centre and a random point. The model learns from captions alone.
The folder is what `s2vt.hugging_face.captioner` reads. Training resumes from it if it exists.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import cfg  # noqa: E402
from s2vt import explain  # noqa: E402
from s2vt.data.datasets import read_media, select  # noqa: E402
from s2vt.data.text import tokenize  # noqa: E402
from s2vt.evaluation import baselines  # noqa: E402
from s2vt.evaluation.mentions import entities_mentions  # noqa: E402
from s2vt.evaluation.pointing import hit  # noqa: E402
from s2vt.hugging_face import captioner  # noqa: E402
from s2vt.saliency.heatmaps import argmax_point  # noqa: E402

SIDE, PATCH, WIDTH, LAYERS, HEADS = 160, 16, 192, 4, 6  # of the encoder; the decoder has half as many layers
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LONGEST = 24  # tokens of a sentence


def tokenizer_of(captions):
    """A tokenizer of the words of captions."""
    words = sorted({word for caption in captions for word in tokenize(caption)})
    vocabulary = {word: i for i, word in enumerate(SPECIAL + words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def new_model(vocabulary_size):
    """A vision transformer, and a BERT that reads its tokens by cross-attention."""
    sizes = dict(hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_attention_heads=HEADS)
    encoder = transformers.ViTConfig(image_size=SIDE, patch_size=PATCH, num_hidden_layers=LAYERS, **sizes)
    decoder = transformers.BertConfig(
        vocab_size=vocabulary_size, num_hidden_layers=LAYERS // 2, max_position_embeddings=LONGEST + 2,
        is_decoder=True, add_cross_attention=True, **sizes,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    start, config.pad_token_id, end = (SPECIAL.index(name) for name in ("[CLS]", "[PAD]", "[SEP]"))
    config.decoder_start_token_id, config.eos_token_id = start, end
    return transformers.VisionEncoderDecoderModel(config=config)


def train(model, tokenizer, image_processor, media, epochs, learning_rate, batch_size=48):
    """AdamW, a caption of each picture a time at random, a rate that rises for a twentieth and then falls to 0."""
    pictures = (Image.open(medium.path).convert("RGB") for medium in media)
    prepared = [image_processor(images=picture, return_tensors="np")["pixel_values"] for picture in pictures]
    pixels = torch.from_numpy(np.concatenate(prepared).astype("float16"))
    rng, steps = np.random.default_rng(0), epochs * -(-len(media) // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.05)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    model.train()
    for epoch in range(epochs):
        start, losses = time.time(), []
        for rows in np.array_split(rng.permutation(len(media)), -(-len(media) // batch_size)):
            captions = [" ".join(tokenize(rng.choice(media[k].captions))) + " [SEP]" for k in rows]
            labels = tokenizer(captions, padding=True, add_special_tokens=False, return_tensors="pt")["input_ids"]
            labels[labels == tokenizer.pad_token_id] = -100
            batch = pixels[rows].float().to(model.device)
            loss = model(pixel_values=batch, labels=labels.to(model.device)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step(), schedule.step(), optimizer.zero_grad()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}, {time.time() - start:.0f} s", file=sys.stderr, flush=True)


def pointing(adapter, folder, media, kinds=("nll", "logit"), captions=1):
    """Shares of phrases whose map points at their object, {kind, "centre" and "random": share}."""
    hits = {name: [] for name in (*kinds, "centre", "random")}
    for medium in media:
        with Image.open(medium.path) as picture:
            width, height = picture.size
        for caption, annotated in zip(medium.captions[:captions], entities_mentions(folder, medium), strict=False):
            found = explain(adapter, medium.path, caption)
            for mention in (each for each in annotated.mentions if each.boxes and len(each.boxes[0])):
                boxes = mention.boxes[0]
                for kind in kinds:
                    hits[kind].append(hit(argmax_point(found.map(list(mention.phrase.words), kind)), boxes))
                hits["centre"].append(hit(baselines.center(width, height), boxes))
                hits["random"].append(baselines.share_inside(boxes, width, height))
    return {name: float(np.mean(values)) for name, values in hits.items()} | {"phrases": len(hits["centre"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="of the model")
    parser.add_argument("--data_dir", type=Path, default=ROOT / "DATA")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--learning_rate", type=float, default=5e-4)
    parser.add_argument("--limit", type=int, help="training pictures")
    parser.add_argument("--test_limit", type=int, default=300, help="pictures whose maps are scored")
    parser.add_argument("--alone", default="decoder", choices=["decoder", "encoder"])
    options = parser.parse_args()
    torch.manual_seed(0)
    every = read_media(cfg.STILL_SHAPES, options.data_dir)
    media, tested = select(every, "train", options.limit), select(every, "test", options.test_limit)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.folder.exists():
        adapter = captioner(options.folder)
        model, image_processor, tokenizer = adapter.family.model, adapter.image_processor, adapter.vocabulary.tokenizer
    else:
        tokenizer = tokenizer_of(caption for medium in select(every, "train") for caption in medium.captions)
        model = new_model(len(tokenizer))
        image_processor = transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE})
    model.to(device)
    if options.epochs:
        train(model, tokenizer, image_processor, media, options.epochs, options.learning_rate)
        for part in (model, tokenizer, image_processor):
            part.save_pretrained(options.folder)
    adapter = captioner(model, (image_processor, tokenizer), alone=options.alone)
    scores = pointing(adapter, options.data_dir / "StillShapes", tested)
    print(json.dumps({"alone": options.alone, **scores}, indent=1))


if __name__ == "__main__":
    main()
