"""What ``fsar publish`` asks of Hugging Face; the hub is a fake, packing is that of test_publish.py."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest

ROOT = Path(__file__).resolve().parents[4]
FILES = ["README.md", "config.yaml", "model.safetensors", "results/test_5way_1shot/results.json"]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Hub:
    """Stands for HfApi: keeps what it is asked, and refuses when it is told to."""

    asked: list[tuple[str, Any]]
    refusal: Exception | None

    def __init__(self, token: str) -> None:
        self.asked.append(("token", token))

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> str:
        self.asked.append(("create", (repo_id, private, exist_ok)))
        if self.refusal:
            raise self.refusal
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, commit_message: str, delete_patterns: list[str]
    ) -> None:
        self.asked.append(("upload", (repo_id, files_in(folder_path), delete_patterns)))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[Hub]:
    Hub.asked, Hub.refusal = [], None
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    return Hub


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The tool, working in an empty folder and packing empty files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    publish = importlib.import_module("fsar.commands.share.publish")

    def pack(run: Path, folder: Path, options: Any) -> list[str]:
        assert run == Path("runs/mine")
        assert options.address in ("someone/waves", "waves")  # of the repository, of the folder
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return []

    monkeypatch.setattr(publish, "pack", pack)
    return publish


def test_a_run_goes_to_a_repository(tool: ModuleType, hub: type[Hub], capsys: pytest.CaptureFixture[str]) -> None:
    tool.main(["runs/mine", "--to", "someone/waves", "--token", "hf_x", "--private"])
    assert hub.asked == [
        ("token", "hf_x"),
        ("create", ("someone/waves", True, True)),
        ("upload", ("someone/waves", FILES, ["results/*"])),  # results of an earlier publication go
    ]
    assert "published: https://huggingface.co/someone/waves" in capsys.readouterr().out
    assert files_in(Path()) == []


def test_without_a_token_nothing_is_asked(tool: ModuleType, hub: type[Hub]) -> None:
    with pytest.raises(SystemExit, match=r"needs a token: --token, HF_TOKEN or .* write --to \./someone/waves"):
        tool.main(["runs/mine", "--to", "someone/waves"])
    assert hub.asked == []


def test_a_refusal_is_one_message(tool: ModuleType, hub: type[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_kept")
    hub.refusal = OSError("403 Forbidden: no write access\n\nlong story")
    with pytest.raises(
        SystemExit, match="someone/waves could not be written to on Hugging Face: 403 Forbidden"
    ) as stop:
        tool.main(["runs/mine", "--to", "someone/waves"])
    assert "long story" not in str(stop.value)
    assert hub.asked[0] == ("token", "hf_kept")


def test_a_folder_is_a_folder_whatever_the_token(tool: ModuleType, hub: type[Hub]) -> None:
    tool.main(["runs/mine", "--to", "./someone/waves", "--token", "hf_x"])
    assert files_in(Path("someone/waves")) == FILES
    assert hub.asked == []


def test_the_real_hub_takes_the_calls_we_make() -> None:
    inspect.signature(huggingface_hub.HfApi.create_repo).bind(None, "a/b", private=True, exist_ok=True)
    inspect.signature(huggingface_hub.HfApi.upload_folder).bind(
        None, repo_id="a/b", folder_path=Path(), commit_message="", delete_patterns=["results/*"]
    )
    inspect.signature(huggingface_hub.snapshot_download).bind("a/b", allow_patterns=["config.yaml"])
