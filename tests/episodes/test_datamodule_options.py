"""The data module as configurations and help show it."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

from episodes.datamodule import EpisodicDataModule
from episodes.transforms import ClipTransform


def test_yaml_names_every_part(root: Path, tmp_path: Path) -> None:
    """What `fit -c` reads; class paths and their arguments reach the parts."""
    (tmp_path / "data.yaml").write_text(
        f"""
        benchmark: {{class_path: episodes.splits.Folder, init_args: {{root: {root}, train: [class_0, class_1], val: [],
          test: {{class_6: [clip0, clip1], class_7: [clip0, clip1]}}, class_names: {{class_0: sit down}}}}}}
        ways: 2
        test_sampler: {{class_path: episodes.frames.UniformLinspace, init_args: {{short: loop}}}}
        test_transform: {{class_path: episodes.transforms.ClipTransform, init_args: {{size: 6}}}}
        workers: 0
        """
    )
    parser = ArgumentParser()
    parser.add_class_arguments(EpisodicDataModule, "data")
    module = parser.instantiate(parser.parse_args([f"--data={tmp_path / 'data.yaml'}", "--data.shots=1"])).data
    module.setup("test")
    assert module.load().train.class_names == ("sit down", "class 1")
    assert module.splits["test"].paths == ("class_6/clip0", "class_6/clip1", "class_7/clip0", "class_7/clip1")
    assert module.test_sampler.short == "loop"
    assert isinstance(module.test_transform, ClipTransform)
    assert next(iter(module.test_dataloader()[0])).clips["frames"].shape[1:] == (8, 3, 6, 6)


def test_help_explains_every_argument() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(EpisodicDataModule, "data")
    text = " ".join(parser.format_help().split())
    for sentence in ("classes per episode", "leave broken videos out and list them", "No result depends on it."):
        assert sentence in text
