"""The 2015 network's own classifier: ImageNet's 1,000 classes, from the archive in which the network was published.

    python -m s2vt.features.imagenet

writes `inception-2015.labels.npz` into Keras' folder of models. From there on

    explain(load("inception-2015.labels.npz"), "photo.jpg", "golden_retriever", map="ceb")

shows where the network sees a class, by contrastive Excitation Backprop. Tested on an archive of the same form, not on
the published one, which this project's machines could not reach.
"""

import re

from s2vt import command_line
from s2vt.errors import UserError
from s2vt.features import inception_2015, networks
from s2vt.features.label_head import ENDING, LabelHead

SYNSETS = "imagenet_2012_challenge_label_map_proto.pbtxt"  # the archive's members: output k -> synset -> names
NAMES = "imagenet_synset_to_human_label_map.txt"


def class_names(synsets, names):
    """What the outputs are called, each as one word: {k: name}; outputs without a synset are left out.

    Args:
        synsets, names: the two files, as text.

    Example:
        >>> class_names('entry { target_class: 3 target_class_string: "n02" }', "n02\\ttabby, tabby cat\\n")
        {3: 'tabby'}
    """
    pairs = re.findall(r'target_class: *(\d+)\s+target_class_string: *"(\w+)"', synsets)
    called = dict(line.split("\t", 1) for line in names.splitlines() if "\t" in line)
    found, seen = {}, {}
    for k, synset in sorted(pairs, key=lambda pair: int(pair[0])):
        name = re.sub(r"[^a-z0-9]+", "_", called[synset].split(",")[0].strip().lower())
        seen[name] = seen.get(name, 0) + 1
        found[int(k)] = name if seen[name] == 1 else f"{name}_{seen[name]}"  # ImageNet has two of "crane"
    return found


def head():
    """The LabelHead of the published network.

    Raises:
        MissingWeights: if the archive can neither be found nor downloaded.
        UserError: if it is damaged, or holds something else.
    """
    graph = inception_2015.download()
    synsets, names = (inception_2015.read_member(name).decode("utf-8", "replace") for name in (SYNSETS, NAMES))
    try:
        kernel, bias = inception_2015.classifier(graph)
        called = class_names(synsets, names)
        if not called:
            raise ValueError("none is named")
        kept = sorted(called)
        kernel, bias = kernel[:, kept], bias[kept]
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(f"the archive of {networks.INCEPTION_2015} has no readable classes: {error}") from None
    weights = networks.digest(networks.INCEPTION_2015)
    return LabelHead(kernel, bias, tuple(called[k] for k in kept), weights, "python -m s2vt.features.imagenet")


def main(arguments=None):
    command_line.Parser("python -m s2vt.features.imagenet", __doc__.split("\n")[0]).parse_args(arguments)
    found = head()
    path = inception_2015.models_folder() / f"{networks.INCEPTION_2015}{ENDING}"
    found.save(path)
    print(f"{path}: {len(found.classes)} classes")
    return 0


if __name__ == "__main__":
    command_line.run(main)
