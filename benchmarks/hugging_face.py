"""Maps by a captioner of transformers of BLIP-base's size, random weights, beside the machine's GEMM rate.

Needs the extra hugging-face. Limit: the operations of the forward passes, counted by PyTorch, at the rate of its own
products of 2048 x 2048 matrices in float32.
"""

import numpy as np

from benchmarks.timing import median_seconds

VOCABULARY = 30_522


def measure(side=224, words=15, repeats=1, layers=12):
    """The nll of each of a picture's patches alone, and what the picture itself takes.

    Args:
        side: of the input, pixels; patches have 16.   words: of the sentence, each one token.
        repeats: of the timing.   layers: of the encoder, and of the decoder.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from s2vt.saliency.information_loss import descriptor_losses

    adapter = blip(side, layers)
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    v, y = adapter.descriptors(picture), np.random.default_rng(1).integers(9, VOCABULARY, words)
    square = torch.rand(2048, 2048)

    def losses():
        return descriptor_losses(adapter.encode, adapter.step, v, [y])

    calls = {"descriptors": lambda: adapter.descriptors(picture), f"nll, {len(v)} x {words}": losses}
    rows = {}
    for name, call in calls.items():
        with FlopCounterMode(display=False) as counter:
            call()
        seconds, gemm = median_seconds(call, lambda: torch.matmul(square, square), repeats=repeats)
        limit = counter.get_total_flops() / (2 * 2048**3 / gemm)
        rows[name] = {"seconds": seconds, "seconds at GEMM rate": limit, "x GEMM": seconds / limit}
    return rows


def blip(side, layers):
    """An adapter of a BLIP with random weights and a tokenizer of numbers."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    from s2vt.hugging_face import captioner

    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="w0")
    config = transformers.BlipConfig(
        vision_config={"image_size": side, "num_hidden_layers": layers},
        text_config={
            "vocab_size": VOCABULARY, "num_hidden_layers": layers, "bos_token_id": 1, "eos_token_id": 2,
            "sep_token_id": 2, "pad_token_id": 0, "encoder_hidden_size": 768, "num_attention_heads": 12,
        },
    )  # fmt: skip
    processor = transformers.ViTImageProcessor(size={"height": side, "width": side})
    return captioner(transformers.BlipForConditionalGeneration(config), (processor, fast))
