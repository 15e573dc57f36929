"""Refinement by the queries of an episode, against loops over the papers' formulas, and as an option of any method."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from episodes.clips import Features
from episodes.episode import Episode
from fsar.__main__ import main
from fsar.alignment import OTAM, EachShot, FrameMean
from fsar.evaluation.protocols.transductive import share_queries
from fsar.methods import CoOp, Prototype
from fsar.refinement import Laplacian, Oracle, PseudoLabels, Refinement, Trace, Transport, add_to_means, sinkhorn
from fsar.training.learner import Learner

WAYS, QUERIES = 3, 7


def cosine(query: Tensor, prototypes: Tensor) -> Tensor:
    """Of mean frames: ``(... q n)``."""
    return normalize(query.mean(-2), dim=-1) @ normalize(prototypes.mean(-2), dim=-1).mT


@pytest.fixture
def frames() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries ``(2 7 4 5)``, prototypes ``(2 3 4 5)``, shots, labels."""
    torch.manual_seed(0)
    query, prototypes = torch.randn(2, QUERIES, 4, 5).double(), torch.randn(2, WAYS, 4, 5).double()
    return query, prototypes, torch.full((2, WAYS), 2), torch.arange(QUERIES).expand(2, -1) % WAYS


def test_sure_queries_join_the_support(frames: tuple[Tensor, ...]) -> None:
    query, prototypes, shots, labels = frames
    found = PseudoLabels(0.7, 2, 2.0)(query, prototypes, shots, cosine, labels)
    joined = []
    for e in range(2):
        own = prototypes[e].clone()
        for _ in range(2):
            s = cosine(query[e], own)
            s = 2 * s / (s - s.mean(-1, keepdim=True)).square().mean().sqrt()
            members = [[prototypes[e, c]] * 2 for c in range(WAYS)]
            for q in range(QUERIES):
                name = int(s[q].argmax())
                if s[q].exp()[name] / s[q].exp().sum() > 0.7:
                    members[name].append(query[e, q])
            own = torch.stack([torch.stack(clips).mean(0) for clips in members])
            joined.append(sum(map(len, members)) - 2 * WAYS)
        assert torch.allclose(found[e], cosine(query[e], own))
    assert 0 < min(joined) <= max(joined) < QUERIES  # some of them, and not all
    nobody = PseudoLabels(1.0)(query, prototypes, shots, cosine, labels)
    assert torch.equal(nobody, cosine(query, prototypes))
    for wrong in ({"threshold": 1.5}, {"rounds": 0}, {"weight": 0.0}):
        with pytest.raises(ValueError, match="threshold is a probability from 0 to 1, rounds 1 or more"):
            PseudoLabels(**wrong)  # type: ignore[arg-type]


def test_trace_mends_prototypes_by_sure_queries(frames: tuple[Tensor, ...]) -> None:
    query, prototypes, shots, labels = frames
    trace = Trace(scale=4.0, steps=0, blend=1.0)
    found = trace(query, prototypes, shots, cosine, labels)
    for e in range(2):
        own, counted = prototypes[e].clone(), 0
        for _ in range(3):
            probability = (4 * cosine(query[e], own)).softmax(-1)
            new = []
            for c in range(WAYS):
                members = [prototypes[e, c]] * 2
                for q in range(QUERIES):
                    if probability[q].argmax() == c and probability[q, c] > 0.5:
                        members.append(query[e, q])
                        counted += 1
                new.append(torch.stack(members).mean(0))
            own = torch.stack(new)
        assert counted
        assert torch.allclose(found[e], 4 * cosine(query[e], own))


def test_the_second_step_of_trace_is_released_codes_objective(frames: tuple[Tensor, ...]) -> None:
    query, prototypes, shots, labels = frames
    trace = Trace(steps=7, lr=0.05, rounds=0)
    found = trace(query, prototypes, shots, cosine, labels)
    for e in range(2):
        weights = prototypes[e].clone().requires_grad_(True)
        adam = torch.optim.Adam([weights], lr=0.05)
        for _ in range(7):
            support, logits = 15 * cosine(prototypes[e], weights), 15 * cosine(query[e], weights)
            p = logits.softmax(-1)
            loss = torch.nn.functional.cross_entropy(support, torch.arange(WAYS))
            loss = loss + 0.1 * torch.stack([-(row * row.log()).sum() for row in p]).mean()
            mean = p.mean(0)
            loss = loss - 1.0 * -(mean * (mean + 1e-12).log()).sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
        assert torch.allclose(found[e], 15 * cosine(query[e], weights.detach()), atol=1e-8)
        assert not torch.allclose(found[e], 15 * cosine(query[e], prototypes[e]), atol=1e-2)


def test_laplacian_is_its_loop(frames: tuple[Tensor, ...]) -> None:
    query, prototypes, shots, labels = frames
    found = Laplacian(2, 0.7, 4)(query, prototypes, shots, cosine, labels)
    for e in range(2):
        s = cosine(query[e], prototypes[e])
        s = s / (s - s.mean(-1, keepdim=True)).square().mean().sqrt()
        near = cosine(query[e], query[e])
        y = s.softmax(-1)
        for _ in range(4):
            logits = s.clone()
            for q in range(QUERIES):
                others = sorted((p for p in range(QUERIES) if p != q), key=lambda p: -float(near[q, p]))
                logits[q] += 0.7 * sum(y[p] for p in others[:2])
            y = logits.softmax(-1)
        assert torch.allclose(found[e].softmax(-1), y)
    alone = Laplacian()(query[:, :1], prototypes, shots, cosine, labels[:, :1])
    assert bool((alone.argmax(-1) == cosine(query[:, :1], prototypes).argmax(-1)).all())


def test_transport_shares_evenly_and_moves_prototypes(frames: tuple[Tensor, ...]) -> None:
    query, prototypes, shots, labels = frames
    share = Transport(iterations=3)(query, prototypes, shots, cosine, labels).exp()
    assert torch.allclose(share.sum(-1), torch.ones(2, QUERIES).double())
    assert torch.allclose(share.sum(-2), torch.full((2, WAYS), QUERIES / WAYS).double(), atol=1e-3)
    moved = prototypes.clone()
    for iterations in range(3):
        s = cosine(query, moved)
        spread = (s - s.mean(-1, keepdim=True)).square().mean((-2, -1), keepdim=True).sqrt()
        expected = (3 * s / spread).log_softmax(-1)
        found = Transport(iterations=iterations, even=False)(query, prototypes, shots, cosine, labels)
        assert torch.allclose(found, expected)
        for e in range(2):
            for c in range(WAYS):
                w = expected[e, :, c].exp()
                mean = (2 * prototypes[e, c] + sum(w[q] * query[e, q] for q in range(QUERIES))) / (2 + w.sum())
                moved[e, c] = 0.6 * moved[e, c] + 0.4 * mean
    assert bool(sinkhorn(torch.tensor([[900.0, -900.0], [900.0, -900.0]])).isfinite().all())


def test_the_bound_reads_labels(frames: tuple[Tensor, ...]) -> None:
    query, prototypes, shots, labels = frames
    found = Oracle()(query, prototypes, shots, cosine, labels)
    own = torch.stack([query[0, labels[0] == c].sum(0) for c in range(WAYS)]) + 2 * prototypes[0]
    own = own / (2 + torch.bincount(labels[0]))[:, None, None]
    assert torch.allclose(found[0], cosine(query[0], own))
    assert torch.allclose(add_to_means(prototypes, shots, query, torch.zeros(2, QUERIES, WAYS)), prototypes)


@pytest.mark.parametrize("refinement", [PseudoLabels(), Trace(steps=3), Laplacian(), Transport(), Oracle()])
@pytest.mark.parametrize("alignment", [FrameMean(), OTAM()])
def test_any_alignment_is_refined_in_evaluation_and_marked(
    refinement: Refinement, alignment: torch.nn.Module, tiny: object
) -> None:
    encoder = tiny()  # type: ignore[operator]
    method = Learner(Prototype(encoder, alignment), refine=refinement).method  # type: ignore[arg-type]
    assert (method.sees_other_queries, method.reads_query_labels) == (True, isinstance(refinement, Oracle))
    assert not method.averages_shots
    torch.manual_seed(1)
    clips = [Features(frames=torch.randn(count, 4, 48)) for count in (WAYS * 2, QUERIES)]
    labels, asked = torch.arange(WAYS).repeat_interleave(2), torch.arange(QUERIES) % WAYS
    episode = Episode(clips[0], clips[1], labels, asked, torch.arange(WAYS), ("a", "b", "c"), torch.tensor(0))
    with torch.no_grad():
        refined = method.eval()(episode).logits
        plain = method.train()(episode).logits
    assert refined.shape == plain.shape
    assert bool(refined.isfinite().all())
    assert not torch.allclose(refined, plain)


def test_what_has_no_prototypes_is_refused(tiny: object) -> None:
    encoder = tiny()  # type: ignore[operator]
    for method in (Prototype(encoder, EachShot(FrameMean())), CoOp(encoder)):
        with pytest.raises(ValueError, match=r"leave out model\.refine"):
            method.refine_with(Laplacian())


def test_queries_are_shared_by_a_dirichlet_draw_with_room_for_all() -> None:
    room = np.full((200, 5), 40)
    counts = share_queries(room, 75, 0)
    assert (counts.sum(1) == 75).all()
    assert (counts <= 40).all()
    assert (counts == share_queries(room, 75, 0)).all()
    assert counts.std() > 6  # of Dir(2, ..., 2): 75 · sqrt(0.2 · 0.8 / 11) = 9
    assert share_queries(room, 75, 0, 1e6).std() < 1
    assert share_queries(np.array([[2, 3, 4]]), 9, 0).tolist() == [[2, 3, 4]]


@pytest.mark.filterwarnings("ignore")
def test_it_is_an_option_of_test_and_a_protocol(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    monkeypatch.delenv("FSAR_RUN", raising=False)
    parts = f"-c {config} --model.method Prototype --model.alignment FrameMean"
    main(shlex.split(f"test --run r {parts} --model.refine fsar.refinement.PseudoLabels --data.test_queries 2"))
    record = json.loads(Path("r/results/test_3way_1shot/results.json").read_text())
    assert record["sees_other_queries"] is True
    assert record["scored"] == "whole episodes, 2 queries of every class"
    assert "transductive" in capsys.readouterr().out
    main(shlex.split(f"protocol transductive {parts} --out p --ways 3 --queries 3 --episodes 4"))
    rows = json.loads(Path("p/protocols/transductive/results.json").read_text())["rows"]
    said = [row["what"] for row in rows]
    assert said[1] == "balanced: PseudoLabels"
    assert [said[0], *said[4:7]] == [
        "balanced: inductive",
        "balanced: Trace",
        "balanced: Trace - inductive, paired",
        "balanced: oracle - Trace, paired",
    ]
    values = {row["what"]: row["mean"] for row in rows}
    gain = values["balanced: Trace"] - values["balanced: inductive"]
    assert values["balanced: Trace - inductive, paired"] == pytest.approx(gain)
    assert any(what.startswith("Dirichlet(2): Transport") for what in said)
    main(
        shlex.split(f"protocol many-way {parts} --model.refine fsar.refinement.Transport --out p --ways 2 --episodes 2")
    )
    assert "transductive: the queries of an episode were scored together" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(shlex.split(f"protocol transductive -c {config} --model.method ZeroShot --out p --ways 3 --queries 3"))
    assert "leave out model.refine" in f"{end.value}"
