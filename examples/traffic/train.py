"""Trains the classifiers in models/ on crops of made traffic, and says how right they are on other traffic.

    .venv/bin/python examples/traffic/train.py

Needs the extra `train` and a few minutes of one core. Seeds lie far from those of any content. The models:

tiny    8 x 8 grey, logistic regression.
small   16 x 16 grey, a perceptron with one hidden layer.
large   32 x 32 in colour, learnt filters (k-means on whitened patches, as Coates and Ng 2012), rectified and pooled,
        then a perceptron.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
from boxes import areas, iou, overlaps
from onnx import TensorProto, helper, numpy_helper
from road import CONTENTS, RoadCamera
from seeing import CROP_PX, MODELS, Decode, Detect, cut_crops
from sklearn.cluster import MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from vehicles import CLASSES

from circinus.operator import OperatorContext, Sample

FOLDER = Path(__file__).parent / "models"

TRAIN_SEED, TEST_SEED = 910_001, 920_001

#: What detects the boxes that crops are cut by: what the classifiers are to meet.
_EYES = (
    (160, "mog2", "light"),
    (160, "knn", "strong"),
    (320, "mog2", "strong"),
    (320, "knn", "light"),
    (640, "mog2", "light"),
)
_WARMUP = 10

_PATCHES = 60_000

FILTERS, PATCH_PX, POOL_PX = 48, 6, 9

#: A filter answers where a patch is more like it than this.
_LEAST_LIKENESS = 0.25

HIDDEN = {"small": 24, "large": 96}


def labelled_crops(seed: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops (N, CROP_PX, CROP_PX, 3) and what they show, from each content and by each kind of eye."""
    rng = np.random.default_rng(seed)
    crops, labels = [], []
    for content in sorted(CONTENTS):
        for index, (width, method, clean) in enumerate(_EYES):
            decode = Decode({"width": width, "every": 1}, OperatorContext())
            detect = Detect({"method": method, "clean": clean}, OperatorContext())
            samples = islice(RoadCamera(content, seed + 10 * index).samples(), frames + _WARMUP)
            for number, sample in enumerate(samples):
                image = decode.process({"source": sample.payload})
                found = detect.process({"decode": image})["boxes"]
                # A frame later nearly the same crops come again.
                if number >= _WARMUP and number % 2 == 0:
                    boxes, classes = _teach(rng, sample, found)
                    crops.append(cut_crops(image["image"], boxes))
                    labels.append(classes)
    return np.concatenate(crops), np.concatenate(labels)


def _teach(rng: np.random.Generator, sample: Sample, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes to learn from: those found, and the truth's, moved a little. What is half right is left out."""
    truth, classes = sample.truth["boxes"], sample.truth["labels"]
    clear = sample.truth["hidden"] == 0
    sizes = truth[:, 2:] - truth[:, :2]
    moved = truth + np.tile(sizes, 2) * rng.normal(0, 0.06, truth.shape).astype(np.float32)
    fit = iou(found, truth[clear])
    near = fit.max(axis=1, initial=0.0)
    inside = overlaps(found, truth).max(axis=1, initial=0.0) / np.maximum(areas(found), 1e-9)
    none = (near < 0.2) & (inside < 0.5)
    good = near >= 0.5
    named = classes[clear][fit[good].argmax(axis=1)] if good.any() else classes[:0]
    boxes = np.concatenate([found[good], found[none], moved[clear]])
    labels = np.concatenate([named, np.full(none.sum(), len(CLASSES)), classes[clear]])
    return boxes.astype(np.float32), labels.astype(np.int64)


class Graph:
    """An ONNX graph that is built node by node; each step's output is the next one's input."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self.name = "crops"

    def weight(self, value: np.ndarray) -> str:
        """A constant's name."""
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def then(self, operator: str, *more: str, output: str = "", **attributes: object) -> str:
        """Adds a node on the last one's output and further inputs."""
        name = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, [self.name, *more], [name], **attributes))
        self.name = name
        return name

    def data(self) -> bytes:
        """The model so far: from crops, uint8 (N, CROP_PX, CROP_PX, 3), to the last node's output, by its name."""
        crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["N", CROP_PX, CROP_PX, 3])
        shape = ["N", "classes"] if self.name == "scores" else ["N", "C", "H", "W"]
        output = helper.make_tensor_value_info(self.name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self._nodes, "crops", [crops], [output], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="circinus")
        model.ir_version = 9
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())

    def run(self, crops: np.ndarray) -> np.ndarray:
        """What the model so far gives, a row for each crop: so training sees just what serving will."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(self.data(), options, providers=["CPUExecutionProvider"])
        parts = [session.run(None, {"crops": part})[0] for part in np.array_split(crops, len(crops) // 256 + 1)]
        return np.concatenate(parts).reshape(len(crops), -1)


def prepared(graph: Graph, name: str) -> None:
    """Pixels as a model takes them: (N, channels, side, side), of zero mean and like contrast in each crop."""
    graph.then("Cast", to=TensorProto.FLOAT)
    graph.then("Transpose", perm=[0, 3, 1, 2])
    if name != "large":
        graph.then("ReduceMean", axes=[1], keepdims=1)
    shrink = {"tiny": 4, "small": 2, "large": 1}[name]
    if shrink > 1:
        graph.then("AveragePool", kernel_shape=[shrink, shrink], strides=[shrink, shrink])
    pixels = graph.name
    mean = graph.then("ReduceMean", axes=[1, 2, 3], keepdims=1)
    graph.name = pixels
    centred = graph.then("Sub", mean)
    graph.then("Mul", centred)
    graph.then("ReduceMean", axes=[1, 2, 3], keepdims=1)
    graph.then("Sqrt")
    spread = graph.then("Add", graph.weight(np.array(8.0, np.float32)))
    graph.name = centred
    graph.then("Div", spread)


def filtered(graph: Graph, filters: np.ndarray, bias: np.ndarray) -> None:
    """A layer of filters, rectified and pooled."""
    graph.then("Conv", graph.weight(filters), graph.weight(bias))
    graph.then("Relu")
    graph.then("AveragePool", kernel_shape=[POOL_PX, POOL_PX], strides=[POOL_PX, POOL_PX])


def headed(graph: Graph, layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Fully connected layers, rectified between, and scores that sum to one."""
    graph.then("Flatten", axis=1)
    for index, (weights, bias) in enumerate(layers):
        if index:
            graph.then("Relu")
        graph.then("Gemm", graph.weight(weights.astype(np.float32)), graph.weight(bias.astype(np.float32)))
    graph.then("Softmax", output="scores", axis=1)


def learnt_filters(rng: np.random.Generator, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Filters (FILTERS, 3, PATCH_PX, PATCH_PX) and their bias: centroids of whitened patches, whitening folded in."""
    images = pixels.reshape(-1, 3, CROP_PX, CROP_PX)
    places = rng.integers(0, CROP_PX - PATCH_PX, (_PATCHES, 2))
    chosen = rng.integers(0, len(images), _PATCHES)
    patches = np.stack(
        [
            images[image, :, y : y + PATCH_PX, x : x + PATCH_PX].ravel()
            for image, (y, x) in zip(chosen, places, strict=True)
        ]
    )
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches - mean, rowvar=False))
    whiten = (vectors / np.sqrt(values + 0.1)) @ vectors.T
    white = (patches - mean) @ whiten
    white /= np.linalg.norm(white, axis=1, keepdims=True) + 1e-6
    means = MiniBatchKMeans(FILTERS, random_state=0, n_init=1, batch_size=4096, max_iter=30).fit(white)
    centroids = means.cluster_centers_
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True) + 1e-6
    filters = centroids @ whiten.T
    bias = -filters @ mean - _LEAST_LIKENESS
    return filters.reshape(FILTERS, 3, PATCH_PX, PATCH_PX).astype(np.float32), bias.astype(np.float32)


def train(name: str, crops: np.ndarray, labels: np.ndarray) -> Graph:
    """One of the models."""
    graph = Graph()
    prepared(graph, name)
    if name == "large":
        filtered(graph, *learnt_filters(np.random.default_rng(0), graph.run(crops)))
    features = graph.run(crops)
    if name == "tiny":
        fitted = LogisticRegression(max_iter=300, C=0.3).fit(features, labels)
        headed(graph, [(fitted.coef_.T, fitted.intercept_)])
        return graph
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-3
    net = MLPClassifier((HIDDEN[name],), alpha=1e-3, max_iter=30, random_state=0, learning_rate_init=2e-3)
    net.fit((features - mean) / spread, labels)
    (first, last), (first_bias, last_bias) = net.coefs_, net.intercepts_
    folded = first / spread[:, None]
    headed(graph, [(folded, first_bias - mean @ folded), (last, last_bias)])
    return graph


def main() -> None:
    """Trains and writes all models."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--frames", type=int, default=120, help="frames of each content and eye to learn from")
    chosen = arguments.parse_args()
    cv2.setNumThreads(1)
    # The perceptrons stop after a fixed number of rounds, wherever they are then.
    warnings.simplefilter("ignore", ConvergenceWarning)
    started_s = time.process_time()
    crops, labels = labelled_crops(TRAIN_SEED, chosen.frames)
    crops, labels = np.concatenate([crops, crops[:, :, ::-1]]), np.tile(labels, 2)
    others, expected = labelled_crops(TEST_SEED, chosen.frames // 4)
    print(f"{len(labels)} crops to learn from, {np.bincount(labels)} of each class, {len(expected)} to test")
    FOLDER.mkdir(exist_ok=True)
    for name in MODELS:
        graph = train(name, crops, labels)
        data = graph.data()
        (FOLDER / f"{name}.onnx").write_bytes(data)
        scores = graph.run(others)
        rights = scores.argmax(axis=1) == expected
        each = ", ".join(f"{np.mean(rights[expected == label]):.3f}" for label in range(len(CLASSES) + 1))
        print(f"{name}: {len(data) / 1000:.0f} kB, {rights.mean():.3f} right ({each})", flush=True)
    print(f"{time.process_time() - started_s:.0f} s of CPU", file=sys.stderr)


if __name__ == "__main__":
    main()
