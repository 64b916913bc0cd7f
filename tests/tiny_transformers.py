"""Tiny captioners of transformers with random weights, their tokenizers and image processors: no download.

Every size differs from the others, so that no axis can be taken for another one.
"""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", "<image>"]
PIECES = ["a", "red", "ring", "##s", "tri", "##ang", "##le", "blue", "circle", "above", "the", "picture", "of"]


def word_pieces():
    """A WordPiece tokenizer, as BERT's: "triangles" is tri ##ang ##le ##s."""
    vocabulary = {piece: i for i, piece in enumerate(SPECIAL + PIECES)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        additional_special_tokens=["[DEC]", "<image>"],
    )  # fmt: skip


def byte_pieces():
    """A byte-level BPE tokenizer, as GPT-2's: a space belongs to the word after it, "rings" is ring s."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("r", "i"), ("n", "g"), ("ri", "ng"), ("e", "d"), ("Ġ", "ring"), ("r", "ed"), ("Ġ", "red"), ("Ġ", "a")]
    vocabulary = {"<end>": 0} | {piece: i + 1 for i, piece in enumerate([*letters, *map("".join, merges)])}
    vocabulary["<image>"] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<end>", eos_token="<end>", additional_special_tokens=["<image>"]
    )


def squash(side):
    """An image processor that resizes the whole picture."""
    return transformers.ViTImageProcessor(size={"height": side, "width": side})


def crop(shortest_edge, side):
    """An image processor that keeps the picture's shape and crops its middle."""
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": shortest_edge}, crop_size={"height": side, "width": side}
    )


def vision(side, patch, width):
    """Sizes of a vision transformer."""
    return dict(
        image_size=side, patch_size=patch, hidden_size=width, intermediate_size=width + 3, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip


def text(tokenizer, width, **more):
    """Sizes of a decoder like BERT's."""
    return dict(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=width + 5, num_hidden_layers=2,
        num_attention_heads=3, max_position_embeddings=31, **more,
    )  # fmt: skip


def random_weights(model, seed=0):
    """The model with weights that are large enough for its logits to differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.7)
    return model.eval()


def vit_bert():
    """4 x 4 patches of 6 pixels of 24, squashed; a decoder like BERT's."""
    tokenizer = word_pieces()
    encoder = transformers.ViTConfig(**vision(24, 6, 10))
    decoder = transformers.BertConfig(**text(tokenizer, 12), is_decoder=True, add_cross_attention=True)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = transformers.VisionEncoderDecoderModel(config=config)
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 2
    model.config.eos_token_id = model.generation_config.eos_token_id = 3
    return random_weights(model), (squash(24), tokenizer)


def vit_gpt2():
    """3 x 3 patches of 5 pixels of 15, a crop; a decoder like GPT-2's."""
    tokenizer = byte_pieces()
    encoder = transformers.ViTConfig(**vision(15, 5, 8))
    decoder = transformers.GPT2Config(
        vocab_size=len(tokenizer), n_embd=9, n_head=3, n_layer=2, n_positions=29, bos_token_id=0, eos_token_id=0,
        is_decoder=True, add_cross_attention=True,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = transformers.VisionEncoderDecoderModel(config=config)
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 0
    return random_weights(model), (crop(17, 15), tokenizer)


def blip():
    """5 x 5 patches of 4 pixels of 20."""
    tokenizer = word_pieces()
    config = transformers.BlipConfig(
        vision_config=vision(20, 4, 8),
        text_config=text(
            tokenizer, 12, encoder_hidden_size=8, bos_token_id=4, eos_token_id=3, sep_token_id=3, pad_token_id=0
        ),
    )
    return random_weights(transformers.BlipForConditionalGeneration(config)), (squash(20), tokenizer)


def git():
    """4 x 4 patches of 3 pixels of 12, a crop."""
    tokenizer = word_pieces()
    config = transformers.GitConfig(
        vision_config=vision(12, 3, 8), **text(tokenizer, 15), bos_token_id=2, eos_token_id=3, pad_token_id=0
    )
    return random_weights(transformers.GitForCausalLM(config)), (crop(13, 12), tokenizer)


def blip2():
    """3 x 3 patches of 7 pixels of 21, read by two queries, and a language model like OPT."""
    tokenizer = byte_pieces()
    config = transformers.Blip2Config(
        vision_config=vision(21, 7, 8),
        qformer_config=text(tokenizer, 12, encoder_hidden_size=8),
        text_config=dict(
            model_type="opt", vocab_size=len(tokenizer), hidden_size=18, ffn_dim=11, num_hidden_layers=2,
            num_attention_heads=3, max_position_embeddings=37, word_embed_proj_dim=18, bos_token_id=0, eos_token_id=0,
            pad_token_id=1,
        ),
        num_query_tokens=2,
        image_token_index=len(tokenizer) - 1,
    )  # fmt: skip
    return random_weights(transformers.Blip2ForConditionalGeneration(config)), (squash(21), tokenizer)


def llava():
    """4 x 4 patches of 5 pixels of 20, of the last but one layer without the class token, and a small Llama."""
    tokenizer = byte_pieces()
    config = transformers.LlavaConfig(
        vision_config=dict(model_type="clip_vision_model", **vision(20, 5, 8)),
        text_config=dict(
            model_type="llama", vocab_size=len(tokenizer), hidden_size=12, intermediate_size=14, num_hidden_layers=2,
            num_attention_heads=3, num_key_value_heads=3, max_position_embeddings=63, bos_token_id=0, eos_token_id=0,
        ),
        image_token_index=len(tokenizer) - 1,
    )  # fmt: skip
    return random_weights(transformers.LlavaForConditionalGeneration(config)), (crop(20, 20), tokenizer)
