"""Captioners of Hugging Face's transformers, explained as they are: `captioner` makes one that `s2vt.explain` takes.

Needs PyTorch and transformers 5 (`pip install -r requirements-hugging-face.txt`), which are imported when it is called.
"""

from s2vt.errors import UserError


def captioner(model, processor=None, *, alone="decoder", prompt="", max_words=64):
    """A captioner of transformers, for `s2vt.explain`.

        from s2vt import explain
        from s2vt.hugging_face import captioner

        blip = captioner("Salesforce/blip-image-captioning-base")
        explain(blip, "photo.jpg", "a dog on the beach").save("page.html")

    Its descriptors are the image encoder's patches: class tokens are read beside the patches of a whole picture, and
    have no place on the grid. A word's loss is the sum over the pieces in which the tokenizer says it.

    Args:
        model: the name of a model on the hub or a folder, which `from_pretrained` reads; or a model. One of
            VisionEncoderDecoderModel, BlipForConditionalGeneration, GitForCausalLM, Blip2ForConditionalGeneration or
            LlavaForConditionalGeneration. It is put into evaluation mode, and stays on its device.
        processor: its processor, an object with `image_processor` and `tokenizer`; or a pair of these two. None: those
            of the name or folder.
        alone: what it means that a patch is read alone (Eq. 7). "decoder": the decoder is given the encoder's output at
            this patch and no other, which has seen the whole picture through the encoder's attention. "encoder": the
            encoder, too, is given this patch and no other, with its position and the class token.
        prompt: text before the sentence, such as "a picture of", or of a LLaVA "USER: <image>\\nWhat is this?
            ASSISTANT:".
        max_words: the longest sentence, in pieces.
    Returns:
        A `s2vt.hugging_face.adapter.Adapter`.
    Raises:
        UserError: if PyTorch or transformers is missing, or this model cannot be explained. The message says why.
    """
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed, which s2vt.hugging_face needs; run pip install -r "
            "requirements-hugging-face.txt"
        ) from None
    from s2vt.hugging_face.adapter import Adapter
    from s2vt.hugging_face.families import family_of
    from s2vt.hugging_face.loading import load

    model, image_processor, tokenizer = load(model, processor)
    return Adapter(family_of(model, tokenizer), image_processor, tokenizer, alone, prompt, max_words)
