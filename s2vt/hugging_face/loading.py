"""Models and processors of transformers, by name or as they are given."""

import contextlib

from s2vt.errors import UserError
from s2vt.hugging_face.families import CLASSES


def load(model, processor=None):
    """The model, its image processor and its tokenizer.

    Args:
        model: a name or folder, or a model.   processor: as `s2vt.hugging_face.captioner`.
    Raises:
        UserError: if the name cannot be read, its kind of model is none of CLASSES, or a model has no processor.
    """
    if isinstance(model, str) or hasattr(model, "__fspath__"):
        name = str(model)
        return _model(name), *(_processors(name) if processor is None else _parts(processor))
    if processor is None:
        raise UserError(
            f"{type(model).__name__}: a model needs its processor; give captioner(model, processor), or "
            "captioner(model, (image_processor, tokenizer))"
        )
    return model, *_parts(processor)


def _parts(processor):
    """The image processor and the tokenizer of a processor, or of a pair."""
    parts = processor
    if not isinstance(processor, tuple | list):
        parts = getattr(processor, "image_processor", None), getattr(processor, "tokenizer", None)
    if len(parts) != 2 or None in parts:
        raise UserError(
            f"{type(processor).__name__}: expected a processor with image_processor and tokenizer, or a pair of these"
        )
    return tuple(parts)


def _model(name):
    """A model, from the hub or a folder."""
    import transformers

    with _readable(name):
        kind = transformers.AutoConfig.from_pretrained(name).model_type
    if kind not in CLASSES:
        raise UserError(f"{name} is of the kind {kind!r}; expected one of {', '.join(CLASSES)}")
    with _readable(name):
        return getattr(transformers, CLASSES[kind]).from_pretrained(name, use_safetensors=True)  # no pickle


def _processors(name):
    """An image processor and a tokenizer, from the hub or a folder."""
    import transformers

    with _readable(name):
        return (
            transformers.AutoImageProcessor.from_pretrained(name),
            transformers.AutoTokenizer.from_pretrained(name),
        )


@contextlib.contextmanager
def _readable(name):
    """Makes one line of what transformers says about a name that it cannot read."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot read {name}: {reason} Expected the name of a model on the hub, or a folder with a model, its "
            "image processor and its tokenizer"
        ) from None
