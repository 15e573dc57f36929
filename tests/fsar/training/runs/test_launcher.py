"""Two and three processes, started by Lightning's launcher, with all that is shown along the way: nobody waits for
somebody who does not come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from episodes.features import FeatureStore

ROOT = Path(__file__).resolve().parents[4]
MINUTES = 10  # before it is said that they hang; a busy machine takes several


def launch(config: Path, folder: Path, devices: int) -> tuple[int, str]:
    """Exit status and output, when the last of the processes has ended and so closed its end of the pipe."""
    command = [sys.executable, str(Path(__file__).with_name("together.py")), str(config), str(devices)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    for name in ("FSAR_RUN", "LOCAL_RANK", "PL_GLOBAL_SEED"):
        env.pop(name, None)
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **piped) as process:
        try:
            output, _ = process.communicate(timeout=60 * MINUTES)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            pytest.fail(f"{devices} processes hang:\n{process.communicate()[0][-3000:]}")
    return process.returncode, output


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch was built without gloo")
@pytest.mark.parametrize("devices", [2, 3])
def test_all_processes_meet_and_end(devices: int, config: Path, tmp_path: Path) -> None:
    status, output = launch(config, tmp_path, devices)
    for stage in ("fit", "validate", "test", "extract"):
        assert (tmp_path / f"{stage}0.json").exists(), output[-3000:]
        met = [json.loads((tmp_path / f"{stage}{rank}.json").read_text()) for rank in range(devices)]
        assert met[0], stage
        assert all(other == met[0] for other in met), stage  # everyone at the same meetings in the same order
    # what is shown was shown
    line = next(line for line in output.splitlines() if line.startswith("Epoch 0/0") and "val:" in line)
    assert all(word in line for word in ("loss:", "accuracy:", "episode"))
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "version_0"), size_guidance={"images": 0}).Reload()
    validations = [event.step for event in events.Scalars("val_accuracy")]
    assert len(validations) == 6 // devices  # inside the epoch
    for name in ("alignment", "confusion"):
        assert [event.step for event in events.Images(name)] == validations
    assert events.Scalars("steps")[0].value == 6  # summed over processes
    for split in ("val", "test"):
        found = json.loads((tmp_path / f"run/results/{split}_3way_1shot_few_shot/results.json").read_text())
        assert found["processes"] == devices
    assert len([FeatureStore(path.parent) for path in tmp_path.glob("store/*/checksums.json")]) == 3
    # one was killed, the others are gone as well
    assert (tmp_path / "killed" / "config.yaml").exists()
    assert status != 0
    if devices == 2:
        assert "the process that started this one is gone" in output
