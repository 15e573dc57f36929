"""Which configurations a number is made with, and what is changed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fsar.reproduction.recipes import Asked, Work, find_works
from fsar.reproduction.short import shorten, training_episodes


def works(methods: str, shots: tuple[int, ...] = (1, 5), benchmark: str = "hmdb51", **options: Any) -> dict[str, Work]:
    asked = Asked(benchmark, Path("videos"), Path("lists"), **options)
    return {work.name: work for work in find_works(asked, methods.split(), shots)}


def test_the_recipe_of_the_benchmark_and_the_shots_is_taken_beside_its_own_data() -> None:
    found = works("clip_fsar trx molo otam prototype")
    assert {name: (work.files[-1], work.shots) for name, work in found.items()} == {
        "clip_fsar_1shot": ("method/clip_fsar/hmdb51_1shot", (1,)),
        "clip_fsar_5shot": ("method/clip_fsar/hmdb51_5shot", (5,)),
        "trx_1shot": ("method/trx/hmdb51", (1,)),
        "trx_5shot": ("method/trx/hmdb51", (5,)),
        "molo": ("method/molo/hmdb51", (1, 5)),  # one training, tested with both
        "otam_1shot": ("method/otam", (1,)),
        "otam_5shot": ("method/otam", (5,)),
        "prototype_1shot": ("method/prototype", (1,)),
        "prototype_5shot": ("method/prototype", (5,)),
    }
    assert found["clip_fsar_1shot"].files[0] == "data/hmdb51_published"
    assert found["trx_1shot"].files[0] == "data/hmdb51"
    assert found["otam_1shot"].files[:2] == ("trainer", "data/hmdb51")
    assert found["trx_1shot"].changes["data"]["shots"] == 1
    assert "shots" not in found["clip_fsar_5shot"].changes["data"]  # as released: trained with one
    assert [name for name, work in found.items() if not work.alike] == ["otam_1shot", "otam_5shot"]
    assert found["otam_1shot"].differs[0].startswith("no recipe of this benchmark")


def test_another_encoder_goes_to_the_inside_and_is_trained_as_the_recipe_says() -> None:
    found = works("clip_fsar d2st", (1,), encoder="clip_vit_b16", weights={"ViT-B-16": "mine.pt"})
    plain = found["clip_fsar_1shot"].changes["model"]["method"]["init_args"]["encoder"]
    assert plain["init_args"]["tune"] == "full"
    assert plain["init_args"]["pretrained"] == "mine.pt"
    assert found["clip_fsar_1shot"].backbone == "ViT-B-16"
    assert found["clip_fsar_1shot"].alike  # the paper has numbers of that network too
    inside = found["d2st"].changes["model"]["method"]["init_args"]["encoder"]
    assert inside["class_path"] == "fsar.encoders.Adapted"
    assert inside["init_args"]["encoder"]["init_args"]["pretrained"] == "mine.pt"
    other = works("trx", (1,), encoder="tiny")["trx_1shot"]
    assert not other.alike
    assert "encoder fsar-tiny, published with resnet50" in other.differs


def test_lists_of_another_variant_are_said() -> None:
    found = works("clip_fsar trx", (1,), "kinetics100")
    assert "published on the lists kinetics100_clipfsar" in found["clip_fsar_1shot"].differs
    assert not found["clip_fsar_1shot"].alike
    assert found["trx_1shot"].alike
    found = works("clip_fsar trx", (1,), "kinetics100_clipfsar")
    assert found["clip_fsar_1shot"].alike
    assert not found["trx_1shot"].alike


def test_a_short_budget_squeezes_the_schedule_with_the_training() -> None:
    work = works("clip_fsar", (1,), budget="short")["clip_fsar_1shot"]
    assert work.changes["trainer"] == {"max_steps": -1, "max_epochs": 1}
    assert work.changes["data"]["train_episodes"] == 63 * 16
    assert work.changes["data"]["test_episodes"] == 1000
    assert work.changes["model"]["lr_scheduler"]["init_args"] == {"warmup": 9, "milestones": [18, 26]}
    assert training_episodes(work.content) == 63 * 16
    assert training_episodes(works("clip_fsar", (1,))["clip_fsar_1shot"].content) == 1250 * 16
    epochs = {"trainer": {"max_epochs": 10}, "data": {"train_episodes": 800, "test_episodes": 50}}
    assert shorten(epochs)["data"] == {"train_episodes": 400, "val_episodes": 200, "test_episodes": 50}
    assert not work.alike


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        ("cilp-fsar", {}, r"no method 'cilp-fsar'; did you mean clip_fsar \?"),
        ("zzz", {}, "no method 'zzz'; known are action_clip, "),
        ("clip_fsar", {"shots": (3,)}, "no recipe method/clip_fsar/hmdb51_3shot; there are .*hmdb51_1shot, .*_5shot"),
        (
            "clip_fsar",
            {"encoder": "tny"},
            r"--encoder tny: no such file or configuration.*did you mean encoder/tiny \?",
        ),
    ],
)
def test_what_there_is_not_is_refused(methods: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        works(methods, **options)


def test_works_are_plain_data() -> None:
    for work in works("clip_fsar molo", budget="short", encoder="tiny").values():
        assert yaml.safe_load(yaml.safe_dump(dict(work.changes))) == work.changes
