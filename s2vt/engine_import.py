"""Importing the engine, which takes most of the time until the first map."""

import gc


def import_engine():
    """Imports Keras and its engine without searching for garbage meanwhile, which takes a fifth less time.

    An import makes half a million objects that stay, and the collector would go through them again and again. Whatever
    makes a network or a captioner calls this first; later, `import keras` finds it imported.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        import keras  # noqa: F401
    finally:
        if collecting:
            gc.enable()
