"""Validation loss with one caption per medium in a batch, and with groups of captions that share a medium."""

import numpy as np


def measure(
    dataset="StillShapes", data_dir="DATA", captions_per_medium=5, seeds=3, epochs=5, media=200, units=64, batch_size=50
):
    """Mean and standard deviation over seeds of the validation loss after each epoch, nats per word.

    A difference of less than two standard errors is within the noise.
    """
    import cfg
    from s2vt import config as configs
    from s2vt.data import datasets
    from s2vt.features.descriptors import DescriptorStore

    config = configs.find(dataset, data_dir, cfg.CONFIGS).replace(
        [f"model.units={units}", f"model.embedding_size={units}", f"training.batch_size={batch_size}"]
    )
    store, found = DescriptorStore(config, data_dir), datasets.read_media(config, data_dir)
    training, validation = (store.available(datasets.select(found, split, media))[0] for split in ("train", "val"))
    losses = [
        [
            validation_losses(
                config.replace([f"training.captions_per_medium={group}"]), store, training, validation, seed, epochs
            )
            for seed in range(seeds)
        ]
        for group in (1, captions_per_medium)
    ]
    return compare(*losses)


def compare(alone, grouped):
    """The rows of the table, one per epoch.

    Args:
        alone, grouped: validation losses with one caption per medium and with several, (seeds, epochs).
    """
    rows = {}
    for k, (one, several) in enumerate(zip(np.transpose(alone), np.transpose(grouped), strict=True)):
        difference = several.mean() - one.mean()
        error = np.sqrt((one.var(ddof=1) + several.var(ddof=1)) / len(one))
        rows[f"epoch {k}"] = {
            "one caption per medium": float(one.mean()),
            "its deviation": float(one.std(ddof=1)),
            "groups": float(several.mean()),
            "their deviation": float(several.std(ddof=1)),
            "difference": float(difference),
            "in standard errors": float(difference / error),
        }
    return rows


def validation_losses(config, store, training, validation, seed, epochs):
    """The validation loss of a new captioner after each epoch of training."""
    import keras

    from s2vt.captioning.runs import new_model
    from s2vt.data.batches import CaptionBatches, Source
    from s2vt.data.text import Vocabulary

    keras.utils.set_random_seed(seed)
    captions = (caption for medium in training for caption in medium.captions)
    vocabulary = Vocabulary.from_captions(captions, config.text.min_count)
    model = new_model(config, vocabulary)
    model.compile(keras.optimizers.Adam(config.training.learning_rate, epsilon=1e-8))
    history = model.fit(
        CaptionBatches([Source(training, store)], vocabulary, config, seed),
        validation_data=CaptionBatches([Source(validation, store)], vocabulary, config),
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return history.history["val_loss"]
