"""What does post-training by a diffusion model do to a tower? An orientation probe, and the zero-shot head.

Pictures of one shape of the Shapes world, in four turns, colours and places. A small denoiser, which knows turns from a
condition, is trained first and then frozen; the last block of the toy CLIP is post-trained against it with and without
the anchor. Told are, before and after: the accuracy of a linear probe for the turn on few labelled pictures, of the
class text for the colour (zero-shot), and the denoiser's error.

    python tools/measure_diffusion_feedback.py
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from episodes.clips import Streams
from episodes.shapes.drawing import COLOURS, KINDS, Dice, Sprite, paint, to_uint8
from fsar.encoders import ClipEncoder
from fsar.terminal.failure import Options, one_message
from fsar.training.diva.diffusion import DiffusionFeedback, add_noise
from fsar.training.diva.post_training import PostTraining

TURNS, SIDE, WIDE = 4, 16, 16
NAMES = ("red", "green", "blue", "yellow", "purple", "cyan")


def draw(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures ``(count 3 64 64)`` uint8 with their turns and colours ``(count)``."""
    canvas = np.full((count, 64, 64, 3), 0.45, dtype=np.float32)
    dice = Dice("post-training", seed)
    turns, colours = (np.floor(dice.array(count) * high).astype(int) for high in (TURNS, len(NAMES)))
    x, y, size = (0.5 + 0.08 * (dice.array(count) - 0.5), 0.5 + 0.08 * (dice.array(count) - 0.5), dice.array(count))
    rgb = np.array([COLOURS[NAMES[c]] for c in colours])
    paint(canvas, Sprite(KINDS.index("triangle"), x, y, 0.2 + 0.1 * size, 0.2 + 0.1 * size, rgb, turns / TURNS))
    return torch.from_numpy(to_uint8(canvas)).movedim(-1, 1), torch.from_numpy(turns), torch.from_numpy(colours)


class SmallDiffusion(nn.Module):
    """A denoiser of 16 x 16 grey pictures that reads the turn from its condition ``(b l 16)``."""

    null_text: Tensor
    kept: Tensor

    def __init__(self, hidden: int = 256, steps: int = 50) -> None:
        super().__init__()
        self.turns = nn.Embedding(TURNS, WIDE).requires_grad_(False)
        self.layers = nn.Sequential(
            nn.Linear(SIDE * SIDE + 1 + WIDE, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.out = nn.Linear(hidden, SIDE * SIDE)
        self.register_buffer("null_text", torch.zeros(1, WIDE))
        self.register_buffer("kept", torch.linspace(0.95, 0.05, steps))

    def encode(self, frames: Tensor) -> Tensor:
        """How far pixels differ from the ground, ``(b 1 16 16)``, about one in size."""
        away = (frames - 0.45).abs().mean(1, keepdim=True)
        return 4 * nn.functional.adaptive_avg_pool2d(away / away.amax((2, 3), keepdim=True), SIDE) - 1

    def forward(self, latent: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        """``(b 1 16 16)``, ``(b)`` and ``(b l 16)`` to the noise."""
        told = torch.cat([latent.flatten(1), self.kept[steps][:, None], condition.mean(1)], 1)
        noise: Tensor = self.out(self.layers(told)).reshape(latent.shape)
        return noise

    def learn(self, steps: int, batch: int = 128) -> float:
        """Train on pictures with their true turns; gives the last losses' mean."""
        frames, turns, _ = draw(2048, 1)
        latents, losses = self.encode(frames / 255), []
        optimizer = torch.optim.Adam([*self.layers.parameters(), *self.out.parameters()], lr=2e-3)
        for _ in range(steps):
            some = torch.randint(len(latents), (batch,))
            step, noise = torch.randint(len(self.kept), (batch,)), torch.randn(batch, 1, SIDE, SIDE)
            found = self(add_noise(latents[some], noise, self.kept[step]), step, self.turns(turns[some])[:, None])
            loss = nn.functional.mse_loss(found, noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return float(np.mean(losses[-50:]))


@torch.no_grad()
def look(encoder: ClipEncoder, labelled: int = 40) -> tuple[float, float]:
    """Accuracies of a linear probe for the turn, from few labelled pictures, and of the text for the colour."""
    frames, turns, colours = draw(800, 2)
    found = nn.functional.normalize(encoder.eval()(frames[:, None])[:, 0], dim=-1)
    assert encoder.text is not None
    text = nn.functional.normalize(encoder.text([f"{name} triangle" for name in NAMES]), dim=-1)
    zero_shot = float(((found @ text.T).argmax(-1) == colours).float().mean())
    mean = found[:labelled].mean(0)
    x = torch.cat([found - mean, torch.ones(len(found), 1)], 1).double()
    wanted = nn.functional.one_hot(turns[:labelled], TURNS).double()
    ridge = 1e-2 * torch.eye(x.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(x[:labelled].T @ x[:labelled] + ridge, x[:labelled].T @ wanted)
    return float(((x[labelled:] @ weights).argmax(-1) == turns[labelled:]).float().mean()), zero_shot


def post_train(model: SmallDiffusion, anchor: float, steps: int, lr: float, seed: int) -> tuple[ClipEncoder, float]:
    """A post-trained toy CLIP, and the denoiser's last error."""
    encoder = ClipEncoder("fsar-tiny", "shapes", tune=1)
    torch.manual_seed(seed)
    feedback = DiffusionFeedback(model, model.null_text, encoder.channels, model.kept, mean_null=True, anchor=anchor)
    module = PostTraining(encoder, model, feedback, steps, lr=lr, seed=seed)
    module.log_dict = lambda *values, **options: None  # type: ignore[method-assign]
    (optimizer,), (rate,) = module.configure_optimizers()
    frames, _, _ = draw(2048, 3)
    module.train()
    for step in range(steps):
        some = torch.randint(len(frames), (32,))
        optimizer.zero_grad()
        module.training_step(Streams(frames=frames[some][:, None]), step).backward()
        optimizer.step()
        rate["scheduler"].step()
    return encoder, float(np.mean([each["diffusion"] for each in module.seen[-20:]]))


@one_message(program="measure_diffusion_feedback")
def main() -> None:
    """Train the denoiser, post-train, print the table."""
    parser = Options(__doc__)
    parser.add_argument("--steps", type=int, default=1600, help="of post-training")
    parser.add_argument("--denoiser_steps", type=int, default=3000)
    parser.add_argument("--lr", type=float, default=0.3, help="of SGD: the loss is small beside that of a large model")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| seed | tower | turn, linear probe | colour, zero-shot | denoiser's error |\n|---|---|---|---|---|")
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        model = SmallDiffusion()
        floor = model.learn(options.denoiser_steps)
        print(f"| {seed} | true turn told | | | {floor:.4f} |")
        probe, text = look(ClipEncoder("fsar-tiny", "shapes"))
        print(f"| {seed} | before | {probe:.3f} | {text:.3f} | |")
        for anchor in (0.01, 0.0):
            encoder, error = post_train(model, anchor, options.steps, options.lr, seed)
            probe, text = look(encoder)
            print(f"| {seed} | after, anchor {anchor} | {probe:.3f} | {text:.3f} | {error:.4f} |", flush=True)


if __name__ == "__main__":
    main()
