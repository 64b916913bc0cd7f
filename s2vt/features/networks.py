"""Feature networks (Eq. 1, phi), by the value of `--weights`: what the rest of the program knows of them.

`network_of` describes a network without its weights, `load` makes it, FeatureExtractor runs it. What differs from one
network to the other (grid, channels, input, preprocessing) is written in the network's own module and read from here.

| `--weights` | network | D | grid | input |
|---|---|---|---|---|
| imagenet, inception-2015, inception-shapes, an .npz or .pb file | InceptionV3, mixed_10 | 2048 | 8 x 8 | 299 |
| efficientnet-lite0, a .pth file | EfficientNet-Lite0, last convolution | 1280 | 8 x 8 | 256 |

Letters: B pictures, S input side, G cells a side of the grid, D channels, all of the network.
"""

import dataclasses
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

from s2vt.data.files import file_digest
from s2vt.data.geometry import Grid
from s2vt.engine_import import import_engine
from s2vt.errors import MissingWeights, UserError
from s2vt.features import efficientnet_lite0, inception, inception_2015
from s2vt.features.receptive_field import blocks_from_the_top

IMAGENET, INCEPTION_2015, EFFICIENTNET_LITE0 = "imagenet", "inception-2015", "efficientnet-lite0"
SHIPPED = "inception-shapes"  # the backbone of the synthetic sets; a file of the repository, not of the package
SHIPPED_FILE = Path("DATA", "weights", f"{SHIPPED}.npz")
NAMES = (IMAGENET, INCEPTION_2015, SHIPPED, EFFICIENTNET_LITE0)


@dataclasses.dataclass(frozen=True)
class Network:
    """A feature network as the name of its weights tells it, which need not be at hand.

    Its layers are "mixed_10", the cells of its last convolutional map (so called after InceptionV3's, whatever the
    network), and "pool_3", their mean.

    Attributes:
        weights: the value of `--weights`.
        title: the network's name.
        grid: its Grid: G, S and the centres of the receptive fields.
        num_channels: D.
        module: the module that loads it.
    """

    weights: str
    title: str
    grid: Grid
    num_channels: int
    module: ModuleType

    @property
    def name(self):
        """What a run's config.json keeps of `weights`: a known name, or the name of the file without its folder."""
        return self.weights if self.weights in NAMES else Path(self.weights).name

    @property
    def tag(self):
        """The name of the folder of descriptors that these weights make."""
        return self.weights if self.weights in NAMES else Path(self.weights).stem


def network_of(weights, input_size=0):
    """The Network that a value of `--weights` names; of a file, its ending tells which.

    Args:
        input_size: S, pixels; 0: the network's own.
    Raises:
        UserError: if the network cannot read pictures of this size.
    """
    is_light = weights == EFFICIENTNET_LITE0 or Path(weights).suffix == ".pth"
    title, module = ("EfficientNet-Lite0", efficientnet_lite0) if is_light else ("InceptionV3", inception)
    try:
        grid = module.grid_of(input_size) if input_size else module.GRID
    except ValueError as error:
        raise UserError(f"features.input_size={input_size}: {error}") from None
    return Network(weights, title, grid, module.NUM_CHANNELS, module)


def network_for(features):
    """The Network of a FeatureConfig, with the Grid of its input size."""
    return network_of(features.weights, features.input_size)


def weights_file(weights):
    """The file behind a value of `--weights`; None for "imagenet", whose file Keras keeps.

    The file of "inception-2015" is written by the first `load`. The file of "inception-shapes" is looked for in the
    repository that this package lies in, then under the current folder; that of "efficientnet-lite0" in the installed
    package.

    Raises:
        UserError: if there is no such name or file.
    """
    if weights == IMAGENET:
        return None
    if weights == INCEPTION_2015:
        return inception_2015.models_folder() / "inception-2015.npz"
    if weights == SHIPPED:
        return _shipped_file()
    if weights == EFFICIENTNET_LITE0:
        return efficientnet_lite0.package_file()
    path = Path(weights)
    if not path.is_file():
        raise UserError(
            f"no weights {weights!r}; expected {', '.join(NAMES)}, an .npz or .pb file of InceptionV3, or a .pth file "
            "of EfficientNet-Lite0"
        )
    return path


def _shipped_file():
    repository = Path(__file__).resolve().parents[2]
    for folder in (repository, Path.cwd()):
        if (folder / SHIPPED_FILE).is_file():
            return folder / SHIPPED_FILE
    raise MissingWeights(
        f"the weights {SHIPPED} are not in {repository / SHIPPED_FILE} or {SHIPPED_FILE}; they come with the project's "
        "repository, not with the package: run in a clone of it, or give --weights the path of the file"
    )


def digest(weights):
    """The identity of the weights: SHA-256 of their file or of the 2015 graph, or the MD5 that Keras verifies.

    Raises:
        UserError: if there is no such name or file.
    """
    if weights == IMAGENET:
        return "md5:bcbd6486424b2319ff4ef7d526e38f63"
    pinned = {INCEPTION_2015: inception_2015.GRAPH_DIGEST, EFFICIENTNET_LITE0: efficientnet_lite0.DIGEST}
    return f"sha256:{pinned.get(weights) or file_digest(weights_file(weights))}"


def load(weights, precision=None, input_size=0):
    """A network and its preprocessing.

    Args:
        weights: a value of `--weights`.
        precision: a Keras dtype policy such as "mixed_bfloat16"; None for the current one.
        input_size: S, pixels; 0: the network's own.
    Returns:
        network: (B, S, S, 3) -> the last convolutional map (B, G, G, D), >= 0.
        preprocess: pictures (B, S, S, 3) of 0 ... 255, float32 -> the network's input.
    Raises:
        UserError: if the weights cannot be found, downloaded or read as those of the network.
    """
    path, size = weights_file(weights), {"input_size": input_size} if input_size else {}
    if weights == EFFICIENTNET_LITE0:
        return efficientnet_lite0.load(path, precision, digest=efficientnet_lite0.DIGEST, **size)
    if weights == INCEPTION_2015 and not path.exists():
        inception_2015.write_converted(path)
    return network_of(weights).module.load(path or IMAGENET, precision, **size)


class FeatureExtractor:
    """Pictures -> the cells of a network's last convolutional map.

    Attributes:
        described: the Network.
        network: (B, S, S, 3) uint8 -> (B, G*G, D) float16. Preprocessing and rounding are part of its graph, so they
            run on all cores.
    """

    def __init__(self, features):
        """Args: features: a FeatureConfig."""
        import_engine()
        import keras
        from keras import ops

        from s2vt.engine import predictor

        self.batch_size, self.described = features.batch_size, network_for(features)
        self.view = getattr(self, f"_{features.view}")
        self.usual = _at_usual_size(features) if features.view == "two_scales" else None
        network, preprocess = load(features.weights, features.precision, features.input_size)
        grid, D = self.described.grid, self.described.num_channels
        pictures = keras.Input((grid.input_size, grid.input_size, 3), dtype="uint8")
        maps = ops.cast(network(preprocess(ops.cast(pictures, "float32"))), "float16")
        self.network, self._layers = keras.Model(pictures, ops.reshape(maps, (-1, grid.num_cells, D))), network
        self._predict = predictor(self.network, self.batch_size)

    def cells(self, pictures):
        """Descriptors of the G x G cells, row by row from the upper left.

        Args:
            pictures: (B, S, S, 3) uint8, any B.
        Returns:
            (B, G*G, D) float16, the precision of descriptor files. The mean over the cells is pool_3.
        """
        return self.view(pictures)

    def from_the_top(self):
        """The network's variables, {name of a block: variables}: `receptive_field.blocks_from_the_top`."""
        return blocks_from_the_top(self._layers)

    def _plain(self, pictures):
        """The cells of pictures as they are."""
        batches = (pictures[k : k + self.batch_size] for k in range(0, len(pictures), self.batch_size))
        results = [self._predict(batch) for batch in batches]
        empty = np.zeros((0, self.described.grid.num_cells, self.described.num_channels), np.float16)
        return np.concatenate(results) if results else empty

    def _mirrored(self, pictures):
        """The mean of a picture's cells and those at the same places of its mirror image."""
        there = self._plain(pictures[:, :, ::-1])
        B, N, D = there.shape
        G = self.described.grid.side
        back = there.reshape(B, G, G, D)[:, :, ::-1].reshape(B, N, D)
        return np.mean([self._plain(pictures), back], axis=0, dtype=np.float32).astype(np.float16)

    def _two_scales(self, pictures):
        """The mean of the cells and of those of the network's own input size, at the same places of the picture."""
        S = self.usual.described.grid.input_size
        small = [np.asarray(Image.fromarray(p).resize((S, S), Image.Resampling.BILINEAR)) for p in pictures]
        there = self.usual.cells(np.array(small, np.uint8).reshape(-1, S, S, 3))
        W = grid_weights(self.usual.described.grid, self.described.grid)
        side = self.usual.described.grid.side
        there = there.reshape(-1, side, side, self.described.num_channels).astype(np.float32)
        there = np.einsum("yk,xl,bkld->byxd", W, W, there, optimize=True)
        here = self._plain(pictures)
        return ((here + there.reshape(here.shape)) / 2).astype(np.float16)

    def _region(self, pictures):
        """For each cell pool_3 of its surroundings alone, as if they were the picture."""
        grid = self.described.grid
        found = [self._plain(regions(picture, grid)).mean(axis=1, dtype=np.float32) for picture in pictures]
        return np.array(found, np.float16).reshape(-1, grid.num_cells, self.described.num_channels)


def _at_usual_size(features):
    """The FeatureExtractor of the network's own input size, for `_two_scales`.

    Raises:
        UserError: if that is the size of the config, too.
    """
    usual = dataclasses.replace(features, input_size=0, view="plain")
    if network_for(usual).grid == network_for(features).grid:
        S = network_for(usual).grid.input_size
        raise UserError(
            f"features.view=two_scales is the mean of cells of two input sizes, {S} pixels and features.input_size; "
            f"received features.input_size={features.input_size}, expected another size, such as {S * 3 // 2}"
        )
    return FeatureExtractor(usual)


def grid_weights(grid, other):
    """Linear interpolation along one side from a grid's cells to the places of another's: W (G', G), rows sum to 1.

    Args: grid, other: Grids of one picture at two input sizes; beyond the outer cells' centres their values continue.

    Example:
        >>> grid_weights(Grid(2, 4, 2, 8), Grid(4, 4, 2, 16)).tolist()
        [[1.0, 0.0], [0.8125, 0.1875], [0.3125, 0.6875], [0.0, 1.0]]
    """
    places, wanted = ((g.centres() + 0.5) / g.input_size for g in (grid, other))
    return np.stack([np.interp(wanted, places, row) for row in np.eye(grid.side)], axis=1)


REGION = 4  # strides along a side of the surroundings of a cell that are seen alone (ours)


def regions(picture, grid):
    """The surroundings of each cell, enlarged to the network's input: (S, S, 3) -> (G*G, S, S, 3), both uint8.

    A square of 4 strides around the cell's centre, in whole pixels, moved into the picture where it would leave it.
    """
    S, side = grid.input_size, min(REGION * grid.stride, grid.input_size)
    starts = np.clip(np.round(grid.centres() + 0.5 - side / 2), 0, S - side).astype(int).tolist()
    squares = [picture[y : y + side, x : x + side] for y in starts for x in starts]
    return np.stack([np.asarray(Image.fromarray(s).resize((S, S), Image.Resampling.BILINEAR)) for s in squares])


# --- the network of a run -------------------------------------------------------------------------------------------


def weights_for(run, trained, of_run, wanted, given):
    """The weights to test or explain a run with: those that it was trained on, under whatever name they are here.

    A network is the run's if its digest is. If the user asks for another one that gives descriptors of the same shape,
    it is taken, with a line on stderr.

    Args:
        run: what the run is called, for messages.
        trained: the name of the weights in the run's config.   of_run: their digest; None: not known (older runs).
        wanted: the value of `features.weights` here.   given: whether the user gave it for this command.
    Returns:
        A value for `features.weights`.
    Raises:
        UserError: if the wanted network's descriptors have another shape.
        MissingWeights: if the run's network is not here.
    """
    for weights in [wanted] if given else dict.fromkeys([trained, wanted]):
        if (given or _is_here(weights)) and is_of(weights, trained, of_run):
            return weights
    name = network_of(trained).name
    found, needed = network_of(wanted), network_of(trained)
    fits = (found.num_channels, found.grid.side) == (needed.num_channels, needed.grid.side)
    if not given:
        instead = f", or take {wanted} in its place with --weights {wanted}" if fits and wanted != trained else ""
        raise MissingWeights(
            f"{run} was trained on the network {name} ({of_run or 'digest not recorded'}), which is not here; "
            f"{_how_to_get(trained)}{instead}"
        )
    if not fits:
        shapes = [f"{n.grid.side}x{n.grid.side} cells of {n.num_channels} numbers" for n in (needed, found)]
        raise UserError(
            f"{run} was trained on the network {name}, {shapes[0]}; {wanted} gives {shapes[1]}: drop --weights, or "
            "train on it with another --name"
        )
    print(
        f"warning: {run} was trained on the network {name}, not on {found.name}; its captions and maps "
        "from other descriptors may be meaningless (not measured)",
        file=sys.stderr,
    )
    return wanted


def is_of(weights, trained, of_run):
    """Whether weights are those that a run was trained on: by their digest, else (older runs) by their name.

    Args: as `weights_for`.
    Raises:
        UserError: if there is no such name or file.
    """
    return digest(weights) == of_run if of_run else network_of(weights).name == network_of(trained).name


def _how_to_get(weights):
    """What to do about weights that are not here."""
    try:
        weights_file(weights)
    except MissingWeights as error:
        return str(error)
    except UserError:  # a file
        pass
    return "give its file with --weights"


def _is_here(weights):
    """Whether there are such weights, as far as their digest needs them."""
    try:
        return bool(digest(weights))
    except UserError:
        return False
