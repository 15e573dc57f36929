"""An encoder with a network beside its frozen tower; a frame encoder itself, that stands wherever one is expected."""

from __future__ import annotations

from torch import Tensor

from fsar.adapters.base import Side
from fsar.encoders.adapted import vit_of
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.state import sha256_of


class Beside(FrameEncoder):
    """The features of a network beside a frozen tower; no gradient ever enters the tower.

    They do not lie in the space of CLIP's text, so there is no text tower.

    Args:
        encoder: an open_clip ViT; it is frozen and taken over.
        side: the network that reads its layers.

    Raises:
        ValueError: a tower that is no open_clip ViT, or one that is to be trained.
    """

    def __init__(self, encoder: FrameEncoder, side: Side) -> None:
        visual, tower = vit_of(encoder, type(side).__name__)
        if not encoder.frozen:
            raise ValueError(f"Beside: the tower stays frozen; give the encoder tune='frozen' ({encoder.identity}).")
        network = side.network(tower, visual.transformer.resblocks)
        super().__init__(
            visual,
            channels=network.channels,
            image_size=encoder.image_size,
            mean=encoder.mean,
            std=encoder.std,
            frames_per_chunk=encoder.frames_per_chunk,
            identity=f"{encoder.identity} + {type(side).__name__} {sorted(vars(side).items())}",
            framing=encoder.framing,
        )
        self.side = network
        self.lower_identity = encoder.lower_identity

    @property
    def frozen(self) -> bool:
        """False: the network beside the tower is trained."""
        return False

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The layers that the network reads; the whole tower is the frozen half."""
        return self.side.layers

    def above(self, states: Tensor, text: Tensor | None = None) -> Tensor:
        """The network's features ``(... t d)``, ``t`` being 1 where it gives one vector a clip.

        Args:
            states: ``(... t l·p w)``, the layers side by side, as :meth:`fsar.encoders.FrameEncoder.below` gives them.
            text: left out, since the network reads none.
        """
        self._check_text(text)
        layers = self.layers(states)
        features = self.side(tuple(x.reshape(-1, *x.shape[-3:]) for x in layers), self.blocks)
        return features.reshape(*states.shape[:-3], *features.shape[1:])

    def layers(self, states: Tensor) -> tuple[Tensor, ...]:
        """``(... t l·p w)`` in any precision to one ``(... t p w)`` float32 per layer."""
        return states.float().chunk(len(self.kept_layers), dim=-2)

    def fingerprint(self, trained: bool = False) -> str:
        """Of the tower, as of any encoder; with ``trained`` of the network beside it too."""
        tower = super().fingerprint(trained)
        return sha256_of([tower], self.side.state_dict()) if trained else tower
