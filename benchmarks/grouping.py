"""What validation says of batches whose captions share media: one caption a medium beside groups of several."""

import numpy as np


def measure(
    dataset="StillShapes", data_dir="DATA", captions_per_medium=5, seeds=3, epochs=5, media=200, units=64, batch_size=50
):
    """The validation loss after each epoch, nats a word: its mean over the seeds, and its standard deviation from one
    seed to another. Grouping is within the noise where the difference is within two standard errors."""
    import cfg
    from s2vt.data import datasets
    from s2vt.features.descriptors import DescriptorStore

    config = cfg.find(dataset, data_dir).replace(
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
    """The rows of the table: an epoch each, from losses (seeds, epochs) with one caption a medium and with several."""
    rows = {}
    for k, (one, several) in enumerate(zip(np.transpose(alone), np.transpose(grouped), strict=True)):
        difference = several.mean() - one.mean()
        error = np.sqrt((one.var(ddof=1) + several.var(ddof=1)) / len(one))
        rows[f"epoch {k}"] = {
            "one caption a medium": float(one.mean()),
            "its deviation": float(one.std(ddof=1)),
            "groups": float(several.mean()),
            "their deviation": float(several.std(ddof=1)),
            "difference": float(difference),
            "in standard errors": float(difference / error),
        }
    return rows


def validation_losses(config, store, training, validation, seed, epochs):
    """Of a captioner trained from nothing, one an epoch."""
    import keras

    from s2vt.captioning.runs import new_model
    from s2vt.data.batches import CaptionBatches
    from s2vt.data.text import Vocabulary

    keras.utils.set_random_seed(seed)
    captions = (caption for medium in training for caption in medium.captions)
    vocabulary = Vocabulary.from_captions(captions, config.text.min_count)
    model = new_model(config, vocabulary)
    model.compile(keras.optimizers.Adam(config.training.learning_rate, epsilon=1e-8))
    history = model.fit(
        CaptionBatches(training, store, vocabulary, config, seed),
        validation_data=CaptionBatches(validation, store, vocabulary, config, shuffle=False),
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return history.history["val_loss"]
