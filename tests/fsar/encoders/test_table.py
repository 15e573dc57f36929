"""Which encoder gives what and takes which adapter: the table of docs/encoders.md, tried row by row on random weights.

``python tests/fsar/encoders/test_table.py`` writes the table into the page.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))  # for thin.py, also as a script
from thin import make

from episodes.clips import Streams
from fsar.adapters import AIM, Adapter, LoRA, MAClipAdapter, STAdapter
from fsar.adapters.lora import find_weights
from fsar.encoders import Adapted, FrameEncoder

PAGE = Path(__file__).resolve().parents[3] / "docs" / "encoders.md"
BEGIN, END = "<!-- table of encoders, written by tests/fsar/encoders/test_table.py -->\n", "<!-- end of it -->"
ALL = ("qkv", "mlp", "all")
ADAPTERS: dict[str, Callable[[], Adapter]] = {
    "AIM": lambda: AIM(frames=2, drop_path=0.0),
    "ST-Adapter": STAdapter,
    "MA-CLIP's": MAClipAdapter,
}


class Row(NamedTuple):
    """An encoder and what it must be able to do."""

    network: str
    model: str
    lora: tuple[str, ...] = ALL
    vit: bool = True  # of plain blocks: two halves, AIM and ST-Adapter
    class_token: bool = True  # MA-CLIP's adapter too

    @property
    def video(self) -> bool:
        return self.model.startswith("video")

    @property
    def takes(self) -> tuple[str, ...]:
        return tuple(ADAPTERS)[: 0 if not self.vit else 3 if self.class_token else 2]


CONVOLUTIONS = {"lora": ("all",), "vit": False}
ROWS = (
    Row("CLIP, MetaCLIP, DFN: ViT", "open_clip:ViT-B-16"),
    Row("MetaCLIP 2", "open_clip:ViT-L-14-worldwide"),
    Row("CLIP: ResNet", "open_clip:RN50", ("qkv", "all"), vit=False),
    Row("EVA-CLIP", "open_clip:EVA02-B-16"),
    Row("SigLIP 2", "open_clip:ViT-B-16-SigLIP2", class_token=False),
    Row("PE-Core", "open_clip:PE-Core-B-16"),
    Row("MobileCLIP2", "open_clip:MobileCLIP2-S0", vit=False),
    Row("CLIP: ConvNeXt", "open_clip:convnext_base", ("mlp", "all"), vit=False),
    Row("DINOv2 with registers", "timm:vit_small_patch14_reg4_dinov2@56"),
    Row("DINOv3", "timm:vit_small_patch16_dinov3@64"),
    Row("SigLIP, image tower alone", "timm:vit_base_patch16_siglip_224@64", class_token=False),
    Row("EVA-02", "timm:eva02_tiny_patch14_224@56"),
    Row("PE-Core, image tower alone", "timm:vit_pe_core_tiny_patch16_384@64"),
    Row("ConvNeXt", "timm:convnext_tiny@64", ("mlp", "all"), vit=False),
    Row("EfficientNet-Lite", "timm:tf_efficientnet_lite0@64", **CONVOLUTIONS),  # type: ignore[arg-type]
    Row("SqueezeNet", "torchvision:squeezenet1_1@64", **CONVOLUTIONS),  # type: ignore[arg-type]
    Row("R3D and its kin", "video:mc3_18@32", **CONVOLUTIONS),  # type: ignore[arg-type]
    Row("Video Swin", "video:swin3d_t@32", vit=False),
)
every = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.model)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Row], FrameEncoder]:
    """The encoder of a row, a copy each time."""
    folder, known = tmp_path_factory.mktemp("thin"), {}

    def encoder(row: Row) -> FrameEncoder:
        if row.model not in known:
            known[row.model] = make(row.model, folder)
        return copy.deepcopy(known[row.model])

    return encoder


def clip(encoder: FrameEncoder) -> Tensor:
    """Of two steps."""
    side, frames = encoder.image_size, 2 * getattr(encoder, "time_stride", 1)
    return torch.randint(0, 256, (1, frames, 3, side, side), dtype=torch.uint8)


@every
def test_frames_patches_and_two_halves(row: Row, made: Callable[[Row], FrameEncoder], tmp_path: Path) -> None:
    encoder = made(row)
    pixels = Streams(frames=clip(encoder))
    found = encoder.features(pixels, ["frames", "patches"])
    places = encoder.grid[0] * encoder.grid[1]
    assert found["frames"].shape == (1, 2, encoder.channels)
    assert found["patches"].shape == (1, 2, places, encoder.widths["patches"])
    assert all(bool(x.isfinite().all()) for x in found.values())
    if not row.video:
        turned = encoder.features(Streams(frames=pixels["frames"].flip(1)))["frames"].flip(1)
        torch.testing.assert_close(turned, found["frames"], rtol=1e-4, atol=1e-5)  # each frame for itself
    trained = make(row.model, tmp_path, tune=1)
    assert bool(trained.kept_layers) is row.vit
    if row.vit:
        with torch.no_grad():
            halves = trained.above(trained.below(pixels), ["frames", "patches"])
        for name, value in found.items():
            torch.testing.assert_close(halves[name], value, rtol=1e-4, atol=1e-5)


@every
def test_lora(row: Row, made: Callable[[Row], FrameEncoder]) -> None:
    for target in sorted({*ALL} - {*row.lora}):
        with pytest.raises(ValueError, match=f"target='{target}' finds nothing .* Use target='all'"):
            Adapted(made(row), LoRA(rank=2, target=target))  # type: ignore[arg-type]
    for target in row.lora[:-1]:
        assert list(find_weights(made(row).visual, target))
    check_adapted(made(row), LoRA(rank=2, target="all"), row.model, exact=True, across=row.video)


@every
@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_of_blocks(row: Row, name: str, made: Callable[[Row], FrameEncoder]) -> None:
    if name not in row.takes:
        reason = (
            "sees whole clips" if row.video else "has none: use a tower" if row.vit else "its network is of the class"
        )
        with pytest.raises(ValueError, match=reason):
            Adapted(made(row), ADAPTERS[name]())
        return
    check_adapted(made(row), ADAPTERS[name](), row.model, exact=name != "MA-CLIP's", across=True)


def check_adapted(encoder: FrameEncoder, adapter: Adapter, name: str, exact: bool, across: bool = False) -> None:
    """The tower's own features at first; then others, by weights that get a gradient, and across frames or not."""
    pixels = clip(encoder)
    plain = encoder(pixels)
    frozen = {id(weight) for weight in encoder.parameters() if not weight.requires_grad}
    adapted = Adapted(encoder, adapter).eval()
    start = adapted(pixels)
    torch.testing.assert_close(start, plain, rtol=1e-4, atol=1e-6 if exact else 1e-4)
    start.square().sum().backward()
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    assert any(weight.grad is not None and bool(weight.grad.any()) for weight in trained), name
    assert not any(weight.grad is not None for weight in adapted.parameters() if not weight.requires_grad)
    assert all(id(weight) not in frozen for weight in trained) or adapter.trained
    with torch.no_grad():
        for weight in trained:
            weight.add_(0.1 * torch.randn_like(weight))
            if weight.shape == (2,):
                weight.zero_()  # MA-CLIP's mask of the tokens that it adds
        moved = adapted(pixels)
        other = pixels.clone()
        other[:, 1] = 255 - other[:, 1]
        beside = adapted(other)[:, 0]
    assert not torch.allclose(moved, plain, rtol=1e-3, atol=1e-4), name
    assert torch.equal(moved[:, 0], beside) is not across, name


def render() -> str:
    """The table as it stands in the page."""
    head = ["network", "for example", "frames", "patches", "two halves", "LoRA", *ADAPTERS]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in ROWS:
        model = row.model.split("@")[0].replace("open_clip:", "").replace("video:", "")
        cells = [row.network, f"`{model}`", "yes", "yes", "yes" if row.vit else "–"]
        cells += [", ".join(row.lora), *("yes" if name in row.takes else "–" for name in ADAPTERS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def test_the_page_shows_the_table() -> None:
    assert BEGIN + render() + END in PAGE.read_text(), f"python {Path(__file__).name} writes it"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + render() + END + rest.partition(END)[2])
