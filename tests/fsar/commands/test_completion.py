"""The script that completes options in a shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fsar.commands.train.fit import main


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``fsar --completion`` prints, in a file."""
    path = tmp_path_factory.mktemp("completion") / "fsar"
    with pytest.MonkeyPatch.context() as patch, path.open("w") as file:
        patch.setattr("sys.stdout", file)
        with pytest.raises(SystemExit) as end:
            main(["--completion"])
    assert not end.value.code
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fsar ", {"fit", "validate", "test", "predict"}),
        ("fsar fit --data.wa", {"--data.ways"}),
        ("fsar test --ckpt", {"--ckpt_path"}),
        ("fsar fit --model.alignment OT", {"OTAM"}),
        ("fsar fit --model.method.encoder Cl", {"ClipEncoder"}),
        ("fsar fit --model.method Clip", {"ClipFSAR", "Clip4Clip"}),
        ("fsar fit --model.temporal_de", set()),
        ("fsar predict --su", {"--support"}),
        ("fsar predict --c", {"--checkpoint", "--classes", "--config", "--csv"}),
        ("fsar predict --data.fr", {"--data.frames"}),
        ("fsar predict --trainer.max_ep", set()),
        ("fsar fit -c con", set()),  # the shell itself completes names of files
    ],
)
def test_bash_completes(script: Path, line: str, expected: set[str]) -> None:
    words = line.split(" ")
    code = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _fsar; echo ${{COMPREPLY[@]}}'
    done = subprocess.run(["bash", "-c", code, "bash", *words], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
    assert not done.stderr
