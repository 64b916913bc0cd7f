"""Sanity checks: maps that know the captioner change when it is scrambled, others do not; measures by hand."""

import keras
import numpy as np
import pytest
from colours import CONFIG, ColourCaptioner, ColourNetwork, ColourRun, killed_and_resumed, pictures, words_of
from keras import ops
from scipy.stats import spearmanr
from toys import with_random_weights

from s2vt.captioning.captioners import CAPTIONERS
from s2vt.config import PROTOCOLS
from s2vt.errors import UserError
from s2vt.evaluation import pixels
from s2vt.evaluation.localization import LocalizationRequest
from s2vt.evaluation.protocol import Protocol
from s2vt.evaluation.sanity import curves, sanity
from s2vt.features import networks
from s2vt.features.extraction import sample_inputs
from s2vt.rendering.similarity import similarity_figure
from s2vt.saliency import maps
from s2vt.saliency.maps import Evidence, Kind
from s2vt.saliency.sanity import Cascade, spearman, ssim

RNG = np.random.default_rng(3)


class LearnedColours(ColourCaptioner):
    """Its colours are a variable that can be scrambled."""

    made = []

    def __init__(self, vocabulary):
        super().__init__(vocabulary)
        self.variable, self.unread = keras.Variable(self.colours), keras.Variable(np.arange(7.0))
        self.made.append(self)

    def step(self, state, word):
        self.colours = ops.convert_to_numpy(self.variable)
        return super().step(state, word)

    def from_the_top(self):
        return {"output": [self.variable], "decoder": [], "input": [self.unread], "embedding": []}


def find_norms(captioner, descriptors, sentences, asking, kinds):
    """The same map whatever the captioner knows and the sentence says."""
    cells = np.linalg.norm(np.asarray(descriptors.cells, "float32"), axis=-1).reshape(1, -1, 8, 8)
    return [{"norm": Evidence("norm", np.repeat(cells, len(y), axis=0), None)} for y in sentences]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("sanity"), 3)


@pytest.fixture
def run(data, tmp_path, monkeypatch):
    monkeypatch.setitem(maps.KINDS, "norm", Kind("norm of the descriptor", "share", (), find_norms))
    return ColourRun(tmp_path / "experiments" / "colours", CONFIG, words_of(data), LearnedColours)


def request(data, run, **options):
    return LocalizationRequest((run,), (run.config(),), data, ("nll", "norm"), **options)


def average(scores, table, row):
    return scores.tallies[f"space: {table}"].averages()[row][0]


def test_a_map_of_the_captioner_changes_and_a_map_of_the_picture_does_not(data, run, tmp_path):
    (scores,) = sanity(request(data, run))
    assert scores.path.name == "sanity_colours_test_7_nll+norm_ours.json"
    for measure, most in (("Spearman", 0.6), ("SSIM", 0.9)):
        for stage in ("output", "input", "another sentence"):
            assert average(scores, f"{stage}, {measure}", "norm") == pytest.approx(1)
            assert average(scores, f"{stage}, {measure}", "nll") < most
        assert f"space: decoder, {measure}" not in scores.tallies  # this captioner has no such layers
    # a stage that nothing depends on changes nothing
    assert average(scores, "input, Spearman", "nll") == average(scores, "output, Spearman", "nll")
    captioner = LearnedColours.made[-1]
    np.testing.assert_allclose(ops.convert_to_numpy(captioner.variable), ColourCaptioner(run.vocabulary()).colours)
    assert "| space: Spearman | output | input | another sentence |" in str(scores)
    figure = similarity_figure(tmp_path / "similarity.png", curves(scores))
    assert figure.stat().st_size > 5000
    assert [title for title, *_ in curves(scores)] == ["space: Spearman", "space: SSIM"]


def test_a_resumed_check_equals_a_whole_one(data, run):
    whole, resumed = killed_and_resumed(lambda progress: sanity(request(data, run), progress))
    assert resumed == whole


class LearnedNetwork(ColourNetwork):
    """Its colours depend on the lowest of three blocks; it writes down which of them are scrambled."""

    def __init__(self):
        self.learned = {"8x8": np.arange(7.0), "17x17": np.arange(11.0), "149x149": np.eye(3, 2048)}
        self.blocks, self.seen = {name: [keras.Variable(it)] for name, it in self.learned.items()}, []

    def from_the_top(self):
        return self.blocks

    def scrambled(self):
        return [name for name, (v,) in self.blocks.items() if (ops.convert_to_numpy(v) != self.learned[name]).any()]

    def cells(self, pictures):
        self.seen.append(self.scrambled())
        return super().cells(pictures)[..., :3] @ ops.convert_to_numpy(self.blocks["149x149"][0])


def test_the_network_is_scrambled_block_by_block_where_asked_for(data, run, monkeypatch):
    network, decoded = LearnedNetwork(), []
    monkeypatch.setattr(networks, "FeatureExtractor", lambda features: network)
    monkeypatch.setattr(pixels, "sample_inputs", lambda *of: decoded.append(of[0]) or sample_inputs(*of))
    protocols = [Protocol.of(CONFIG.with_settings(PROTOCOLS[name]), name) for name in ("ours", "paper")]
    scores, of_paper = sanity(request(data, run, limit=2, pixels=True, protocols=tuple(protocols)))
    # From the top down, all earlier blocks staying scrambled; each medium is decoded once, for both protocols.
    assert network.seen == 2 * [["8x8"], ["8x8", "17x17"], ["8x8", "17x17", "149x149"]]
    assert network.scrambled() == [] and len(decoded) == len(set(decoded)) == 2
    stages = ["output", "input", "network 8x8", "network 17x17", "network", "another sentence"]
    assert curves(scores)[0][:2] == ("space: Spearman", stages) == curves(of_paper)[0][:2]
    for stage in stages[:-2]:
        assert average(scores, f"{stage}, Spearman", "norm") > 0.98  # descriptor files are float16
    assert average(scores, "network, Spearman", "norm") < 0.9
    texts = [scores.tallies[f"space: {stage}, SSIM"].protocol for stage in ("network 17x17", "network")]
    assert "permuted: the feature network's layers of 17x17 units, too." in texts[0]
    assert "permuted: the whole feature network, too." in texts[1]


def test_release_is_refused(data, run):
    release = Protocol.of(CONFIG.with_settings(PROTOCOLS["release"]), "release")
    with pytest.raises(UserError, match="--sanity asks about the cells .* expected ours, paper or torchray"):
        sanity(request(data, run, protocols=(release,)))


@pytest.mark.parametrize("name", CAPTIONERS)
def test_stages_of_every_captioner_are_all_that_it_learned(name):
    captioner = with_random_weights(CAPTIONERS[name](vocabulary_size=7, units=8, embedding_size=5), D=3)
    stages = captioner.from_the_top()
    assert list(stages) == ["output", "decoder", "input", "embedding"] and all(stages.values())
    variables = sum(stages.values(), [])
    assert len(variables) == len(captioner.trainable_variables) == len({id(variable) for variable in variables})
    names = {stage: {variable.name for variable in of_stage} for stage, of_stage in stages.items()}
    assert names["output"] == {"W_o", "b_o"} and names["embedding"] == {"embedding"}
    assert not {"W_x", "b_x", "U_a", "K_z"} & names["decoder"]


def test_the_embeddings_of_a_contrast_are_a_part_of_the_output():
    captioner = CAPTIONERS["mean_pool"](vocabulary_size=7, units=8, embedding_size=5, contrast=0.3)
    stages = with_random_weights(captioner, D=3).from_the_top()
    assert any(variable is captioner.contrast.U for variable in stages["output"])
    assert len(stages["output"]) == 3 and len(sum(stages.values(), [])) == len(captioner.trainable_variables)


def test_a_cascade_permutes_stage_by_stage_and_puts_everything_back():
    values = [RNG.normal(size=(4, 5)), RNG.normal(size=6), RNG.normal(size=7)]
    first, second, third = (keras.Variable(each) for each in values)
    with pytest.raises(ZeroDivisionError), Cascade({"top": [first, second], "bottom": [third]}, seed=1) as cascade:
        cascade.scramble("top")
        scrambled = ops.convert_to_numpy(first)
        assert not np.allclose(scrambled, values[0])
        np.testing.assert_allclose(np.sort(scrambled.ravel()), np.sort(values[0].astype("float32").ravel()))
        np.testing.assert_allclose(ops.convert_to_numpy(third), values[2], rtol=1e-6)
        cascade.scramble("bottom")
        np.testing.assert_allclose(ops.convert_to_numpy(first), scrambled)  # stays scrambled
        1 / 0  # noqa: B018
    with cascade:  # again, the same
        cascade.scramble("top")
        np.testing.assert_allclose(ops.convert_to_numpy(first), scrambled)
    for variable, expected in zip((first, second, third), values, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, rtol=1e-6)


def test_spearman_equals_scipy_s_and_knows_constant_maps():
    a, b = RNG.integers(0, 5, (2, 3, 4)), RNG.normal(size=(2, 3, 4))
    assert spearman(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert spearman(b, -b) == -1
    assert (spearman(np.ones(4), np.arange(4)), spearman(np.ones(4), np.zeros(4))) == (0, 1)


def test_ssim_by_another_road():
    """Windows by hand: a Gaussian of 11 x 11 weights about every pixel of the picture, mirrored at the edges."""
    a, b = RNG.random((2, 13, 14))
    weights = np.exp(-(np.arange(-5, 6) ** 2) / 2 / 1.5**2)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    scaled = [(x - x.min()) / (x.max() - x.min()) for x in (a, b)]
    windows = [np.lib.stride_tricks.sliding_window_view(np.pad(x, 5, "symmetric"), (11, 11)) for x in scaled]
    mu_a, mu_b = (np.einsum("yxij,ij->yx", w, weights) for w in windows)
    cov = [[np.einsum("yxij,yxij,ij->yx", p, q, weights) for q in windows] for p in windows]
    var_a, var_b, cov_ab = cov[0][0] - mu_a**2, cov[1][1] - mu_b**2, cov[0][1] - mu_a * mu_b
    numerator = (2 * mu_a * mu_b + 0.01**2) * (2 * cov_ab + 0.03**2)
    expected = (numerator / ((mu_a**2 + mu_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))).mean()
    assert ssim(a[None], b[None]) == pytest.approx(expected, abs=1e-9)
    assert ssim(np.stack([a, b]), np.stack([a, b])) == pytest.approx(1)
