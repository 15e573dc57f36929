"""Every method of the library through the properties that a method must have; bad ones are told what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fsar.methods
from episodes.features.imported import write_import
from fsar.alignment import OTAM, FrameMean
from fsar.build import build
from fsar.encoders import AudioEncoder, ClipEncoder, Imported, WithSound
from fsar.evaluation.conformance import PROPERTIES, TriedMethod, check, try_property
from fsar.evaluation.marks import marked_name, marks, record_marks
from fsar.method import Method, Scores
from fsar.methods import ClipMEI, ClipSPM, Prototype, SeveralNames, SightAndSound

CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "method"
TRAINED = [CONFIGS / "clip_fsar_tiny.yaml", *sorted((CONFIGS / "tiny").glob("*.yaml"))]
OTHERS = ("zero_shot", "linear_probe", "nearest", "simple_shot", "tip_adapter", "tip_adapter_f", "ape", "ape_t",
          "prototype")  # fmt: skip
MODEL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 28, "patch_size": 4, "width": 32, "layers": 3, "head_width": 16},
    "text_cfg": {"context_length": 24, "width": 16, "heads": 2, "layers": 2},
}
ALL = [*TRAINED, *(CONFIGS / f"{name}.yaml" for name in OTHERS)]
OWN = {"ape": {"channels": 16}, "ape_t": {"channels": 16}}
"""What depends on the encoder's size."""
NOT_METHODS = {"TipAdapterViews"}
OF_SEVERAL_KINDS = {"SeveralNames", "SightAndSound"}
"""Methods that read what no configuration of pixels gives."""

pytestmark = pytest.mark.filterwarnings(  # of Lightning, about itself
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    "ignore:.*isinstance.treespec, LeafSpec:FutureWarning",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "fsar-test-conformance.json"
    path.write_text(json.dumps(MODEL))
    return path


def make(config: Path, model: Path) -> Method:
    """The method of a configuration, its encoder replaced by a random little CLIP."""
    text = config.read_text()
    inside = "fsar.encoders.Adapted" in text or "fsar.encoders.Beside" in text
    encoder = "encoder.init_args.encoder" if inside else "encoder"
    named = {f"{encoder}.init_args.model": model, f"{encoder}.init_args.pretrained": "null", **OWN.get(config.stem, {})}
    options = [f"--model.method.{key}={value}" for key, value in named.items()]
    torch.manual_seed(0)
    method = build(["-c", str(config), *options], device="cpu")[0].method
    with torch.no_grad():
        for parameter in method.parameters():  # so that nothing is zero
            parameter.add_(0.02 * torch.randn_like(parameter))
    return method


@pytest.mark.parametrize("config", ALL, ids=lambda path: path.stem)
def test_every_method_conforms(config: Path, model: Path) -> None:
    method = make(config, model)
    subject = TriedMethod(method)
    found = {each.__name__: try_property(each, subject) for each in PROPERTIES}
    assert {name: note for name, (held, note) in found.items() if not held} == {}
    assert not method.sees_other_queries
    assert not method.reads_query_labels


@pytest.mark.parametrize("name", sorted(OF_SEVERAL_KINDS))
def test_methods_that_read_more_than_frames_conform(name: str, model: Path, tmp_path: Path) -> None:
    shapes = {"visual": (3, 6), "text": (1, 4)}
    arrays = {kind: np.random.default_rng(0).random((2, *shape), dtype=np.float32) for kind, shape in shapes.items()}
    write_import(tmp_path / "store", "a model", "visual", ["a.mp4", "b.mp4"], arrays)
    hearing = WithSound(
        ClipEncoder(str(model), None), AudioEncoder(channels=64, rate=4000, window=200, hop=80, mels=16)
    )
    method = {
        "SeveralNames": lambda: SeveralNames(Imported(tmp_path / "store"), OTAM()),
        "SightAndSound": lambda: SightAndSound(hearing, OTAM()),
    }[name]()
    lines: list[str] = []
    assert check(TriedMethod(method, frames=4), lines.append) == 0, lines
    assert not any("marked" in line for line in lines)


def test_every_method_of_the_library_is_tried() -> None:
    texts = [path.read_text() for path in ALL]
    for name in set(fsar.methods.__all__) - NOT_METHODS - OF_SEVERAL_KINDS:
        assert any(f"class_path: fsar.methods.{name}\n" in text for text in texts), name


@pytest.mark.parametrize(("anchors", "text"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("kind", [ClipMEI, ClipSPM])
def test_what_is_published_of_other_queries_is_marked(
    kind: type[ClipMEI | ClipSPM], anchors: bool, text: bool, model: Path
) -> None:
    encoder = ClipEncoder(str(model), None)
    method = kind(encoder, head_width=16, hidden=64, published_anchors=anchors, published_text=text)
    lines: list[str] = []
    assert check(TriedMethod(method), lines.append) == 0
    assert any("marked: it sees other queries" in line for line in lines)
    assert any("marked: changing the labels" in line for line in lines) == text
    record = {"method": kind.__name__, **record_marks(method, {"queries": 5})}
    assert marks(record) == "transductive" + (", reads the queries' labels" if text else "")
    assert marked_name(record) == f"{kind.__name__} ({marks(record)})"
    assert record["scored"] == "whole episodes, 5 queries of every class"


class Bad(Prototype):
    """Frame means, spoilt in a way that a test names."""

    def __init__(self, encoder: Any, fault: str) -> None:
        super().__init__(encoder, FrameMean())
        self.fault = fault

    def score(self, support: Any, query: Any, episode: Any, text: Tensor) -> Scores:
        logits = super().score(support, query, episode, text).logits
        match self.fault:
            case "centres":
                logits = logits - logits.mean(-2, keepdim=True)
            case "peeks":
                logits = logits + 0.1 * torch.nn.functional.one_hot(episode.query_labels, episode.ways)
            case "prefers":
                logits = logits + torch.arange(episode.ways)
            case "numbers":
                logits = logits + torch.arange(logits.shape[-2])[:, None]
            case "batch":
                logits = logits * (1 + logits.dim())
            case "nan":
                logits = logits / 0
        return Scores(logits, logits)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("centres", "changing one query moves the others' scores"),
        ("peeks", "permuting the labels of the queries moves scores"),
        ("prefers", "the columns do not follow"),
        ("numbers", "permuted queries: the rows do not follow"),
        ("batch", "in a batch of two it differs"),
        ("nan", "a score is not finite"),
    ],
)
def test_a_bad_method_is_told_what_is_wrong(fault: str, words: str, model: Path) -> None:
    lines: list[str] = []
    assert check(TriedMethod(Bad(ClipEncoder(str(model), None), fault), frames=2), lines.append) > 0
    assert any(line.startswith("FAILED") and words in line for line in lines), lines


def test_a_mark_does_not_hide_another_fault(model: Path) -> None:
    method = Bad(ClipEncoder(str(model), None), "prefers")
    method.sees_other_queries = method.reads_query_labels = True
    assert check(TriedMethod(method, frames=2), lambda line: None) == 1
