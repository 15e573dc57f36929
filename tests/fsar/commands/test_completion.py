"""The script that completes options in a shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fsar.commands import COMMANDS
from fsar.commands.completion import ask_options
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
        ("fsar ", set(COMMANDS)),
        ("fsar che", {"check-videos", "check-benchmark", "check-alignment", "check-method"}),
        ("fsar fit --data.wa", {"--data.ways"}),
        ("fsar test --ckpt", {"--ckpt_path"}),
        ("fsar fit --model.alignment OT", {"OTAM"}),
        ("fsar fit --model.method.encoder Cl", {"ClipEncoder"}),
        ("fsar fit --model.method Clip", {"ClipCPM2C", "ClipFSAR", "ClipMEI", "ClipSPM", "Clip4Clip"}),
        ("fsar fit --model.temporal_de", set()),
        ("fsar predict --su", {"--support"}),
        ("fsar predict --c", {"--checkpoint", "--classes", "--config", "--csv"}),
        ("fsar predict --data.fr", {"--data.frames"}),
        ("fsar predict --trainer.max_ep", set()),
        ("fsar predict --sh", {"--shots"}),
        ("fsar sweep --inf", {"--inference"}),
        ("fsar sweep --split ", {"val", "test"}),
        ("fsar extract --dty", {"--dtype"}),
        ("fsar extract --dtype bf", {"bfloat16"}),
        ("fsar extract --trainer.accum", {"--trainer.accumulate_grad_batches"}),
        ("fsar baselines --data.wa", {"--data.ways"}),
        ("fsar baselines --tun", {"--tuning_episodes"}),
        ("fsar baselines --ver", set()),
        ("fsar episodes --data.wa", {"--data.ways"}),
        ("fsar episodes --model.", set()),
        ("fsar report --ga", {"--gallery"}),
        ("fsar web --por", {"--port"}),
        ("fsar web --model.enc", {"--model.encoder"}),
        ("fsar publish --tok", {"--token"}),
        ("fsar compare --model.met", set()),
        ("fsar init --out", {"--out"}),
        ("fsar fit -c method/ma", {"method/ma_clip"}),
        ("fsar fit -c con", set()),  # the shell itself completes names of files
    ],
)
def test_bash_completes(script: Path, line: str, expected: set[str]) -> None:
    words = line.split(" ")
    code = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _fsar; echo ${{COMPREPLY[@]}}'
    done = subprocess.run(["bash", "-c", code, "bash", *words], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected
    assert not done.stderr


def test_every_option_of_every_command_stands_in_it(script: Path) -> None:
    text = script.read_text()
    lines = {name: line for line in text.splitlines() for name in COMMANDS if line.startswith(f"            {name}) ")}
    assert set(lines) == set(COMMANDS)
    for name, line in lines.items():
        assert " --debug " in line.replace('"', " ") or name in ("fit", "validate", "test"), name
        assert "--list-options" not in line
    for name, command in COMMANDS.items():
        if not command.named:
            parser = ask_options(command).parser
            words = parser.format_help().replace(",", " ").replace("]", " ").split()
            own = {word for action in parser._actions for word in action.option_strings}  # not those of an example
            asked = {word.lstrip("[") for word in words if word.lstrip("[").startswith("--")} & own
            missing = {word for word in asked if f" {word} " not in lines[name].replace('"', " ")}
            assert not {word for word in missing if word[2:].isidentifier()}, name
