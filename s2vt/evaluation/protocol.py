"""Protocols: the settings with which maps are scored, and their description under each table."""

import dataclasses
import math
from dataclasses import dataclass, field

import numpy as np

from s2vt.config import EvaluationConfig, SaliencyConfig
from s2vt.data.geometry import Geometry
from s2vt.evaluation.pointing import clip_boxes


@dataclass(frozen=True)
class Protocol:
    """How maps are made and scored.

    Attributes:
        saliency: from evidence to maps. Its `map` is ignored: one protocol scores maps of several kinds.
        evaluation: from maps to scores.
        name: one of `config.PROTOCOLS`, with the settings that were changed: "paper", "ours, tolerance=15.0".
        resize: of the network's inputs, `features.resize`.

    Example:
        >>> crop = Protocol(evaluation=EvaluationConfig(region="center_crop"), name="paper", resize="center_crop")
        >>> crop.heading("attention correctness")
        "paper (the paper's Table 2)"
    """

    saliency: SaliencyConfig = field(default_factory=SaliencyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    name: str = "ours"
    resize: str = "squash"

    @classmethod
    def of(cls, config, name="ours", usual=None, resize=None):
        """The protocol of a Config. Descriptors of the centre crop are scored inside the centre crop.

        Args:
            name: one of `config.PROTOCOLS`.
            usual: the Config of the pure protocol; settings that differ from it become a part of the name.
            resize: of the descriptors; None: the config's.
        """
        evaluation, resize = config.evaluation, resize or config.features.resize
        if resize == "center_crop":
            evaluation = dataclasses.replace(evaluation, region="center_crop")
        protocol = cls(config.saliency, evaluation, name, resize)
        if usual is None:
            return protocol
        pure = cls.of(usual, name, resize=resize).to_json()
        changed = [f"{key}={value}" for key, value in protocol.to_json().items() if value != pure[key]]
        return dataclasses.replace(protocol, name=", ".join([name, *changed]))

    def to_json(self):
        """The name and all settings of maps and of their scores against boxes."""
        settings = dataclasses.asdict(self.saliency) | dataclasses.asdict(self.evaluation)
        del settings["map"], settings["faithfulness"]
        return {"name": self.name, **settings, "resize": self.resize}

    @property
    def file_name(self):
        """The name as a part of a file's name.

        Example:
            >>> Protocol(name="paper, tolerance=15.0").file_name
            'paper_tolerance15.0'
        """
        return self.name.replace(", ", "_").replace("=", "")

    def heading(self, table):
        """Its name, and the paper's table that it is the protocol of.

        Args:
            table: name of one of `tables.TABLES`.
        """
        tables = {("space", "squash"): "the paper's Table 1", ("attention correctness", "center_crop"): "the paper's "
                  "Table 2"}  # fmt: skip
        of_paper = tables.get((table, self.resize)) if self.name == "paper" else None
        return f"{self.name} ({of_paper})" if of_paper else self.name

    def space_text(self):
        """The settings of maps in space, in words."""
        if self.saliency.of_release:
            text = "Maps in the steps of the 2017 release's visualisation (of a video: every frame)."
            return text + self._evidence_text() + self._region_text()
        sigma = self.saliency.sigma_cells
        between = f"a Gaussian of sigma {sigma:g} cells" if sigma else "bilinear"
        return f"Interpolation between cells: {between}." + self._evidence_text() + self._region_text()

    def _evidence_text(self):
        """The settings of evidence that differ from the paper's, in words."""
        words = {"all": "", "content": " A phrase's sum leaves out its function words."}[self.saliency.words]
        reads = self.saliency.reads
        return words + (f" The encoder reads a cell or pooled frame in isolation {reads} times." if reads > 1 else "")

    def _region_text(self):
        if self.evaluation.region == "picture":
            return ""
        seen = "the network saw no more" if self.resize == "center_crop" else "the network saw the whole picture"
        return f" Only the centre crop counts ({seen}): boxes are cut to it, phrases without a box in it are dropped."

    def time_text(self):
        """The settings of saliency over time, in words."""
        if self.saliency.of_release:
            text = "Saliency of a frame: the mean of its map in the steps of the 2017 release's visualisation."
            return text + self._evidence_text()
        sigma = self.saliency.sigma_frames
        smoothing = f"a Gaussian of sigma {sigma:g} sampled frames" if sigma else "none"
        alone = {"pooled": "its pooled descriptor", "cells": "its 64 cells as a sequence"}[self.saliency.frame_input]
        text = f"Smoothing over time: {smoothing}. Encoder input for a frame in isolation: {alone}."
        return text + self._evidence_text()


@dataclass(frozen=True)
class Window:
    """The region of a source picture that counts. Its pixels and boxes have their origin at its upper left corner.

    Attributes:
        geometry: of the source.
        left, top, width, height: of the region, source pixels.

    Example:
        >>> window = Window.of(Geometry.of(300, 200), "center_crop")
        >>> window.left, window.top, window.width, window.height
        (62, 12, 175, 175)
        >>> window.cut([(0, 0, 100, 100), (0, 0, 62, 100)]).tolist()
        [[0.0, 0.0, 38.0, 88.0]]
    """

    geometry: Geometry
    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, geometry, region):
        """The pixels whose centres lie in the region.

        Args:
            geometry: of the source.   region: "picture" or "center_crop" (`evaluation.region`).
        """
        resize = "squash" if region == "picture" else region
        crop = Geometry.of(geometry.width, geometry.height, resize).crop
        left, top, right, bottom = (math.ceil(edge - 0.5) for edge in crop)
        return cls(geometry, left, top, right - left, bottom - top)

    @property
    def grid(self):
        """The network's Grid."""
        return self.geometry.grid

    def to_input(self, points):
        """Points (..., 2) in the window's pixels -> (..., 2) in input pixels."""
        return self.geometry.to_input(np.asarray(points, float) + (self.left, self.top))

    def cut(self, boxes):
        """Boxes (K, 4) in source pixels -> their parts inside the window, in its pixels, (K', 4)."""
        region = self.left, self.top, self.left + self.width, self.top + self.height
        return clip_boxes(boxes, region) - (self.left, self.top, self.left, self.top)
