"""Learned rejecters of the open-set protocol, on videos whose features are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from fsar.__main__ import main
from fsar.evaluation.protocols.ground import Ground, Tasks
from fsar.evaluation.protocols.open_set import run
from fsar.evaluation.rejecting import background, fr_disc
from fsar.objectives import BackgroundText

CLASSES, CLIPS, CHANNELS = 14, 8, 12


class World:
    """Videos of three frames around the centre of their class; classes are scored by distances of mean frames."""

    def __init__(self, base: int = 8) -> None:
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(CLASSES).repeat_interleave(CLIPS)
        centres = torch.randn(CLASSES, CHANNELS, generator=generator)
        self.frames = centres[labels][:, None] + 0.5 * torch.randn(len(labels), 3, CHANNELS, generator=generator)
        parts = {"train": (0, base), "test": (base, CLASSES - base)}
        names = tuple(f"c{i}" for i in range(CLASSES))
        self.ground = Ground(labels.numpy(), names, parts, self.score, compare=self.compare)

    def compare(self, tasks: Tasks) -> tuple[Tensor, Tensor]:
        ways = tasks.classes.shape[1]
        member = torch.from_numpy(tasks.support_labels)[:, None] == torch.arange(ways)[:, None]
        support = self.frames[torch.from_numpy(tasks.support)]
        prototypes = torch.einsum("ens,estd->entd", member.float() / member.sum(-1, keepdim=True), support)
        return self.frames[torch.from_numpy(tasks.query)], prototypes

    def score(self, tasks: Tasks) -> np.ndarray:
        query, prototypes = self.compare(tasks)
        found: np.ndarray = -torch.cdist(query.mean(-2), prototypes.mean(-2)).square().double().numpy()
        return found


def test_what_is_left_is_that_beside_the_likeliest_class() -> None:
    generator = torch.Generator().manual_seed(1)
    query, prototypes = torch.randn(2, 5, 3, 7, generator=generator), torch.randn(2, 4, 3, 7, generator=generator)
    likeliest = torch.tensor([[0, 3, 1, 2, 2], [1, 1, 0, 3, 0]])
    found = fr_disc.leftover(query, prototypes, likeliest)
    for e in range(2):
        for q in range(5):
            own = prototypes[e, likeliest[e, q]].mean(0)
            want = 7**0.5 * (normalize(query[e, q].mean(0), dim=0) - normalize(own, dim=0))
            torch.testing.assert_close(found[e, q], want)
    shots = torch.stack([prototypes - 1, prototypes + 1], -3)  # (e n k t d), as alignments that merge shots have them
    torch.testing.assert_close(fr_disc.leftover(query, shots, likeliest), found)


def test_known_queries_that_are_named_wrong_teach_nothing() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5, 3.0, -2.0])
    known, right = torch.tensor([True, True, True, False, False]), torch.tensor([True, True, False, False, False])
    loss = fr_disc.discriminate(logits, known, right)
    ones = binary_cross_entropy_with_logits(logits[:2], torch.ones(2))
    torch.testing.assert_close(loss, ones + binary_cross_entropy_with_logits(logits[3:], torch.zeros(2)))
    nothing = fr_disc.discriminate(logits, known, torch.zeros(5, dtype=torch.bool))
    torch.testing.assert_close(nothing, binary_cross_entropy_with_logits(logits[3:], torch.zeros(2)))


def test_a_discriminator_learns_on_base_classes_what_is_unknown_among_others() -> None:
    rows = {row.what: row for row in run(World().ground, 3, 2, 2, episodes=40, fr_disc_episodes=800)}
    assert rows["AUROC (FR-Disc)"].mean > 0.8
    assert rows["OS-ACC (FR-Disc)"].mean > 0.7
    best = max(rows[f"AUROC ({name})"].mean for name in ("probability", "logit", "margin"))
    (gain,) = (row for what, row in rows.items() if what.startswith("AUROC (FR-Disc) - AUROC ("))
    assert gain.mean == pytest.approx(rows["AUROC (FR-Disc)"].mean - best)
    again = {row.what: row for row in run(World().ground, 3, 2, 2, episodes=40, fr_disc_episodes=800)}
    assert again == rows
    with pytest.raises(ValueError, match="it needs 4 of 4 clips in the split train, which has 3"):
        run(World(base=3).ground, 3, 2, 2, episodes=2, fr_disc_episodes=16)


def test_the_background_text_is_asked_among_the_texts_of_the_episode() -> None:
    class Tower(nn.Module):
        def fits(self, text: str) -> bool:
            return True

        def encode(self, texts: list[str]) -> Tensor:
            rows = [int(text.rsplit("c", 1)[1].rstrip(".")) for text in texts]
            return torch.eye(CLASSES, CHANNELS)[rows] + 0.1

    world = World()
    objective = BackgroundText(CHANNELS, scale=5.0)
    means = normalize(world.frames.mean(1), dim=-1)
    method = type("Method", (), {"encoder": type("Encoder", (), {"text": Tower()})()})()
    ground = Ground(
        world.ground.labels, world.ground.class_names, world.ground.parts, world.score, method, None, lambda: means
    )
    classes, query = np.array([[9, 1, 4], [2, 11, 0]]), np.array([[3, 80], [17, 40]])
    labels = np.zeros((2, 2), dtype=np.int64)
    found = background.judge(ground, objective, Tasks(classes, query, labels, query, labels))
    texts = normalize(torch.eye(CLASSES, CHANNELS) + 0.1, dim=-1)
    for e in range(2):
        columns = torch.cat([normalize(objective.background, dim=0)[None], texts[classes[e]]])
        want = 1 - (5.0 * means[query[e]] @ columns.mT).softmax(-1)[:, 0]
        np.testing.assert_allclose(found[e], want.detach().numpy(), atol=1e-6)


@pytest.fixture
def files(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    return config


def test_the_command_trains_the_one_and_finds_the_other_in_a_run(files: Path) -> None:
    content = yaml.safe_load(files.read_text())
    folder = content["data"]["benchmark"]["init_args"]
    every = folder["train"] + folder["val"] + folder["test"]
    folder |= {"train": every[:4], "val": [], "test": every[4:]}
    content["model"]["objectives"] = [{"class_path": "fsar.objectives.BackgroundText", "init_args": {"channels": 32}}]
    Path("run.yaml").write_text(yaml.safe_dump(content))
    few = ["--ways", "2", "--episodes", "3"]
    main(["protocol", "open-set", "-c", "run.yaml", "--out", "untrained", "--fr-disc", "4", *few])
    rows = [row["what"] for row in json.loads(Path("untrained/protocols/open-set/results.json").read_text())["rows"]]
    assert "OSCR (FR-Disc)" in rows
    assert "OSCR (background text)" not in rows  # it is random where nothing was trained
    main(["fit", "-c", "run.yaml", "--run", "run"])
    main(["protocol", "open-set", "--run", "run", *few])
    rows = [row["what"] for row in json.loads(Path("run/protocols/open-set/results.json").read_text())["rows"]]
    assert "OSCR (background text)" in rows
    assert "OSCR (FR-Disc)" not in rows
    with pytest.raises(SystemExit):
        main(["protocol", "many-way", "-c", "run.yaml", "--out", "out", "--fr-disc", "4"])
