"""What differs between the captioners of transformers: where their image tokens come from, and who reads them.

Letters: R rows of a batch, L image tokens (patches, and class tokens), D channels of a token, K ids, V vocabulary.

Only the models' own forward passes are called. Where a model takes pixels and no tokens, the forward pass of the module
that makes tokens of pixels gives those tokens instead (`giving`).
"""

import contextlib
from pathlib import Path

from s2vt.errors import UserError


@contextlib.contextmanager
def giving(module, output):
    """Within the block, a module's forward pass gives `output`, whatever its input is."""
    of_its_own = module.__dict__.get("forward")  # accelerate puts one there
    module.forward = lambda *args, **kwargs: output
    try:
        yield
    finally:
        if of_its_own is None:
            del module.forward
        else:
            module.forward = of_its_own


class Family:
    """One kind of captioner.

    Args:
        model: of transformers.   tokenizer: its tokenizer.
    Attributes:
        start: ids before the sentence and its prompt, a list.
        end: the id that ends a sentence.
    Raises:
        UserError: if the model does not say how a sentence starts and ends.
    """

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.start, self.end = list(self._start()), self._end()
        if None in self.start or self.end is None:
            raise UserError(
                f"{self.name} does not say which tokens start and end a sentence; set "
                "model.generation_config.decoder_start_token_id (or bos_token_id) and eos_token_id"
            )

    @property
    def name(self):
        """For titles and messages: the model's name or folder, without what is before it, else its class."""
        return Path(self.model.name_or_path).name or type(self.model).__name__

    @property
    def vision(self):
        """The module that makes image tokens of pixels."""
        return self.model.vision_model

    @property
    def embeddings(self):
        """The module that makes patch embeddings, with their positions, of pixels: the first of `vision`."""
        return getattr(self.vision, "vision_model", self.vision).embeddings

    @property
    def text_config(self):
        """The configuration of the module that says words."""
        return self.model.config.get_text_config(decoder=True)

    def see(self, pixels):
        """Image tokens (R, L, D) of pixels (R, 3, S, S), class tokens first."""
        return self.vision(pixel_values=pixels).last_hidden_state

    def say(self, tokens, ids, last):
        """Logits after each of the `last` last ids, (R, last, V), of image tokens (R, L, D) and ids (R, K)."""
        raise NotImplementedError

    def no_pixels(self, rows):
        """Stands for the pixels of R pictures where none are read."""
        return next(self.model.parameters()).new_zeros((rows, 3, 1, 1))

    def _start(self):
        return [self._given("bos_token_id")]

    def _end(self):
        return self._given("eos_token_id", self.tokenizer.eos_token_id, self.tokenizer.sep_token_id)

    def _given(self, key, *others):
        """A token id by name, of the model's configurations for generation and words, else the first of others."""
        configs = self.model.generation_config, self.model.config, self.text_config
        found = [value for value in (*(getattr(config, key, None) for config in configs), *others) if value is not None]
        first = found[0] if found else None
        return first[0] if isinstance(first, list) else first


class VisionEncoderDecoder(Family):
    """Any image encoder, and a decoder with cross-attention: attention over one token is 1, so q_i is exact."""

    @property
    def vision(self):
        return self.model.encoder

    def say(self, tokens, ids, last):
        return self.model(encoder_outputs=(tokens,), decoder_input_ids=ids, use_cache=False).logits[:, -last:]

    def _start(self):
        start = self._given("decoder_start_token_id")
        return [self._given("bos_token_id") if start is None else start]


class Blip(Family):
    """A vision transformer, and a BERT with cross-attention: attention over one token is 1, so q_i is exact."""

    def say(self, tokens, ids, last):
        return self.model.text_decoder(input_ids=ids, encoder_hidden_states=tokens, use_cache=False).logits[:, -last:]

    def _start(self):
        return [self.model.config.text_config.bos_token_id]

    def _end(self):
        return self.model.config.text_config.sep_token_id


class Git(Family):
    """A vision transformer whose tokens, projected, are a prefix of the sentence."""

    @property
    def vision(self):
        return self.model.git.image_encoder

    def say(self, tokens, ids, last):
        from transformers.modeling_outputs import BaseModelOutput

        with giving(self.vision, BaseModelOutput(last_hidden_state=tokens)):
            found = self.model(input_ids=ids, pixel_values=self.no_pixels(len(ids)), use_cache=False)
        return found.logits[:, -last:]


class Blip2(Family):
    """A vision transformer, queries that read its tokens by cross-attention, and a language model that reads them."""

    def say(self, tokens, ids, last):
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        with giving(self.vision, BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=tokens[:, 0])):
            found = self.model(pixel_values=self.no_pixels(len(ids)), input_ids=ids, use_cache=False)
        return found.logits[:, -last:]

    def _start(self):
        config = self.model.config
        if not config.use_decoder_only_language_model:
            raise UserError(f"{self.name} has an encoder-decoder language model; expected a BLIP-2 with OPT")
        return [config.image_token_index] * config.num_query_tokens + [config.text_config.bos_token_id]


class Llava(Family):
    """A vision transformer whose tokens, projected, stand in the prompt of a language model in the image's place."""

    @property
    def vision(self):
        return self.model.model.vision_tower

    def see(self, pixels):
        import torch

        return torch.stack(list(self.model.get_image_features(pixel_values=pixels).pooler_output))

    def say(self, tokens, ids, last):
        import torch

        before, after = self._parts(ids[0].tolist())
        embedded = self.model.get_input_embeddings()(ids)
        read = torch.cat([embedded[:, :before], tokens.to(embedded.dtype), embedded[:, after:]], dim=1)
        attended = torch.ones(read.shape[:2], dtype=torch.long, device=read.device)
        return self.model(inputs_embeds=read, attention_mask=attended, use_cache=False).logits[:, -last:]

    def _parts(self, ids):
        """Where the image's token stands among ids, and where the text after it starts."""
        image = self.model.config.image_token_id
        if ids.count(image) != 1:
            raise UserError(
                f'{self.name}: the prompt needs the image once; give prompt="USER: <image>\\n... ASSISTANT:"'
            )
        return ids.index(image), ids.index(image) + 1


# Kinds of model, as its configuration names them: the class of transformers and the Family.
FAMILIES = {
    "vision-encoder-decoder": ("VisionEncoderDecoderModel", VisionEncoderDecoder),
    "blip": ("BlipForConditionalGeneration", Blip),
    "git": ("GitForCausalLM", Git),
    "blip-2": ("Blip2ForConditionalGeneration", Blip2),
    "llava": ("LlavaForConditionalGeneration", Llava),
}
CLASSES = {kind: name for kind, (name, _) in FAMILIES.items()}


def family_of(model, tokenizer):
    """The Family of a model.

    Raises:
        UserError: if it is none of FAMILIES.
    """
    names = [each.__name__ for each in type(model).__mro__]
    for name, family in FAMILIES.values():
        if name in names:
            return family(model.eval(), tokenizer)
    raise UserError(f"cannot explain {type(model).__name__}; expected one of {', '.join(CLASSES.values())}")
