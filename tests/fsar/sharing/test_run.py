"""Runs of others: read as data, and refused in one sentence when they are more than that."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors.torch import save_file

from fsar.sharing.published_config import needed
from fsar.sharing.run import is_repository, open_run, read_checkpoint

STATE = {"method.scale": torch.tensor(2.0), "method.temporal.positions": torch.arange(6.0).view(2, 3)}
FACTS = {"fsar_method": "ClipFSAR", "frozen_weights_sha256": "ab12", "trained_classes": ["waving", "jumping"]}


def config() -> dict[str, Any]:
    """What a fit writes, shortened."""
    encoder = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": "fsar-tiny", "pretrained": "shapes"}}
    alignment = {"class_path": "fsar.alignment.OTAM", "init_args": {"temperature": float("inf"), "cost": None}}
    return {
        "seed_everything": 3,
        "trainer": {"logger": {"class_path": "lightning.pytorch.loggers.WandbLogger"}, "max_epochs": 1},
        "model": {
            "method": {
                "class_path": "fsar.methods.ClipFSAR",
                "init_args": {"encoder": encoder, "alignment": alignment},
            },
            "optimizer": {"class_path": "torch.optim.Adam"},
        },
        "data": {
            "benchmark": {"class_path": "episodes.splits.Folder"},
            "features": "/data/features",
            "workers": 4,
            "train_sampler": {"class_path": "my_frames.Sampler"},
            "train_transform": {"class_path": "my_frames.Transform"},
            "frames": 4,
            "size": 64,
            "test_sampler": None,
        },
        "run": "runs/mine",
    }


def publish(folder: Path, content: Any, facts: dict[str, Any] = FACTS) -> Path:
    """A folder as ``fsar publish`` writes it, with any configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    save_file(STATE, folder / "model.safetensors", {"fsar": json.dumps(facts)})
    return folder


def with_alignment(value: Any) -> dict[str, Any]:
    content = config()
    content["model"]["method"]["init_args"]["alignment"] = value
    return content


def with_pretrained(value: str) -> dict[str, Any]:
    content = config()
    content["model"]["method"]["init_args"]["encoder"]["init_args"]["pretrained"] = value
    return content


def test_a_run_folder_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(with_alignment("my_metric.Mine")))  # one's own code is welcome
    torch.save({"state_dict": STATE, **FACTS}, tmp_path / "checkpoints" / "last.ckpt")
    run = open_run(tmp_path, "last")
    assert run.config == str(tmp_path / "config.yaml")
    assert run.checkpoint["fsar_method"] == "ClipFSAR"
    with pytest.raises(
        FileNotFoundError,
        match=r"best.ckpt does not exist: .* `fsar fit --run` or `fsar test --run`, nor a published one",
    ):
        open_run(tmp_path)


def test_a_published_folder_has_the_keys_of_a_checkpoint_and_what_building_needs(tmp_path: Path) -> None:
    run = open_run(publish(tmp_path / "shared", config()))
    assert {key: value for key, value in run.checkpoint.items() if key != "state_dict"} == FACTS
    assert run.checkpoint["state_dict"].keys() == STATE.keys()
    assert all(torch.equal(run.checkpoint["state_dict"][name], value) for name, value in STATE.items())
    read = yaml.safe_load(run.config)
    assert run.config.startswith("{")
    assert read == needed(config())
    assert read["seed_everything"] == 3  # random frozen weights come out of it
    assert read["data"] == {"frames": 4, "size": 64, "test_sampler": None}
    assert read["model"].keys() == {"method"}
    with pytest.raises(ValueError, match="holds the best checkpoint alone, not 'last'"):
        open_run(tmp_path / "shared", "last")


EVIL = "evil_module.Popen"
ATTACKS = {
    "an alignment": with_alignment({"class_path": EVIL, "init_args": {"args": "true"}}),
    "a name alone": with_alignment(EVIL),
    "a name with spaces": with_alignment({"class_path": f" {EVIL} "}),
    "inside a list": with_alignment({"class_path": "fsar.alignment.WeightedSum", "init_args": {"parts": [[1, EVIL]]}}),
    "inside arguments": with_alignment({"class_path": "fsar.alignment.OTAM", "dict_kwargs": {"x": {"y": EVIL}}}),
    "YAML in a string": with_alignment(f"{{class_path: {EVIL}}}"),
    "YAML in YAML in a string": with_alignment(json.dumps([json.dumps({"class_path": EVIL})])),
    "a dotted key": {**config(), "data": {"test_transform.class_path": EVIL}},
    "a transform": {**config(), "data": {"test_transform": EVIL}},
    "the method": {**config(), "model": {"method": {"class_path": EVIL}}},
}


@pytest.mark.parametrize("content", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_published_configuration_may_not_name_code_of_others(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil_module.py").write_text("from subprocess import Popen\nraise SystemExit('this code was run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = publish(tmp_path / "shared", content)
    with pytest.raises(ValueError, match=rf"config.yaml names {EVIL} as [\w.]+, which is no part.*trust_classes=True"):
        open_run(folder)
    assert "evil_module" not in sys.modules
    assert EVIL in open_run(folder, trust_classes=True).config  # whoever loads it decides; nothing is imported here


@pytest.mark.parametrize("path", ["/models/ViT-B-16.pt", "~/ViT-B-16.pt", r"C:\models\ViT-B-16.pt", "file:ViT-B-16.pt"])
def test_a_file_is_named_by_whoever_loads(path: str, tmp_path: Path) -> None:
    folder = publish(tmp_path / "shared", with_pretrained(path))
    with pytest.raises(
        FileNotFoundError, match=r"needs the file ViT-B-16.pt, .*\[\"--model.encoder.pretrained\", \"FIL"
    ):
        open_run(folder)
    with pytest.raises(FileNotFoundError, match="needs the file"):
        open_run(folder, overrides=["--model.encoder.model", "ViT-B-16", "--model.enc", "x"])
    for option in (
        "--model.encoder.pretrained",
        "--model.encoder.pretrained=mine.pt",
        "--model.method.init_args.encoder.init_args.pretrained",
        "--model.encoder",
        "--model.method",
        "-c",
    ):
        read = yaml.safe_load(open_run(folder, overrides=[option, "mine.pt"]).config)
        assert read["model"]["method"]["init_args"]["encoder"]["init_args"]["pretrained"] == "file:ViT-B-16.pt"


def test_a_file_that_is_here_is_not_taken_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.yaml").write_text("class_path: evil_module.Popen")
    with pytest.raises(FileNotFoundError, match=r"needs the file evil.yaml.*--model.alignment"):
        open_run(publish(tmp_path / "shared", with_alignment("evil.yaml")))


class Pickled:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.trace), "w")


def test_a_checkpoint_that_would_be_unpickled_is_refused(tmp_path: Path) -> None:
    path, trace = tmp_path / "best.ckpt", tmp_path / "trace"
    torch.save({"state_dict": STATE, "extra": Pickled(trace)}, path)
    with pytest.raises(ValueError, match=r"best.ckpt is refused: .* more than tensors") as refusal:
        read_checkpoint(path)
    assert not trace.exists()
    assert "\n" not in str(refusal.value)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="holds no state_dict"):
        read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"best.ckpt is damaged: its end is missing"):
        read_checkpoint(path)


def test_weights_that_publish_did_not_write_are_refused(tmp_path: Path) -> None:
    folder = publish(tmp_path, config(), {"fsar_method": "ClipFSAR"})
    with pytest.raises(ValueError, match="does not say frozen_weights_sha256, trained_classes in its metadata"):
        open_run(folder)
    (folder / "model.safetensors").write_bytes(b"\x80\x04 a pickle by the name of safetensors")
    with pytest.raises(ValueError, match="cannot be read as published weights"):
        open_run(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not YAML"),
        ("!!python/object/apply:os.system ['true']", "is not YAML"),
        ("just words", "is no configuration of a run"),
        ("model: evil.yaml\ndata: {}", "is no configuration of a run"),
        ("model: {}\ndata: {}", "is no configuration of a run"),
        ("model: {method: {}}\ndata: {}\nmodle: {}", r"has the key modle, which no run has; did you mean model \?"),
        (
            "model: {method: {}}\ndata: {}\nx: 1\nq: 1",
            r"config.yaml has the keys q, x, which no run has; known are seed",
        ),
    ],
)
def test_a_configuration_that_is_none_is_refused(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        open_run(publish(tmp_path, content))


def test_what_reads_as_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "name").mkdir()
    assert is_repository("someone/clip-fsar_1.0")
    for folder in (
        "runs/missing",
        "user/name",
        "./someone/name",
        "../x/y",
        "/a/b",
        "name",
        "a/b/c",
        r"a\b",
        "a/.b",
        "",
    ):
        assert not is_repository(folder), folder


def test_a_repository_is_fetched_and_read_like_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def fetch(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append((repository, allow_patterns))
        return str(tmp_path / "cache")

    publish(tmp_path / "cache", config())
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    run = open_run("someone/shared")
    assert asked == [("someone/shared", ["config.yaml", "model.safetensors"])]  # nothing else comes here
    assert run.checkpoint["trained_classes"] == ["waving", "jumping"]
    publish(tmp_path / "cache", with_alignment({"class_path": "subprocess.Popen"}))
    with pytest.raises(ValueError, match=r"someone/shared/config.yaml names subprocess.Popen"):
        open_run("someone/shared")


def answer(kind: type[HfHubHTTPError]) -> HfHubHTTPError:
    """An error as the server's answer makes it, without a server."""
    error = kind.__new__(kind)
    Exception.__init__(error, "404 Client Error.\n\nRepository Not Found for url")
    return error


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (answer(RepositoryNotFoundError), FileNotFoundError, "neither a folder here nor a repository"),
        (answer(GatedRepoError), PermissionError, "is gated: ask for access"),
        (answer(HfHubHTTPError), ConnectionError, "could not be fetched"),
        (LocalEntryNotFoundError("offline"), ConnectionError, r"could not be fetched .*HF_HUB_OFFLINE"),
        (HFValidationError("a--b"), FileNotFoundError, "neither a folder here nor a repository"),
    ],
)
def test_what_the_hub_answers_becomes_one_message(
    raised: Exception, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> str:
        raise raised

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(kind, match=message) as found:
        open_run("someone/shared")
    assert "someone/shared" in str(found.value)
    assert "\n" not in str(found.value)
