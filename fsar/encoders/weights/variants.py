"""Files of weights that other systems made of CLIP: recognised by their names, renamed to OpenAI's, or refused.

====================  ================================  ============================================================
file of               told by                           what becomes of it
====================  ================================  ============================================================
Hugging Face, VeCLIP  ``vision_model.*``                renamed; q, k and v joined, projections turned
DIVA, trained again   ``class_model.model.*``           that tower; VAE, U-Net and text encoder are dropped
AudioCLIP             ``audio.*``                       image and text; the audio tower is dropped
DreamLIP              ``visual.proj2``                  the second projection is dropped; exact GELU
Long-CLIP             ``positional_embedding_res``      its positions from the 21st on; fsar.encoders.LongText reads it
GroupViT, GLIP        ``img_encoder.*``; ``rpn.*``      refused: no CLIP tower
====================  ================================  ============================================================

DIVA's own release has OpenAI's names and needs nothing. VeCLIP's text tower reads tokens of T5: its image tower alone
is taken. FFF released no weights. The formats are those that the released loading code reads; of the real files none
could be had here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]
LONG = "positional_embedding_res"
"""What Long-CLIP's files hold beside CLIP's weights: all 248 positions, of which the first 20 are not used."""


@dataclass(frozen=True)
class Variant:
    """What a file of weights was found to be.

    Args:
        name: of the system, "" for plain CLIP.
        state: under OpenAI's or open_clip's names.
        quick_gelu: the activation where the file settles it.
        image_only: the text tower is absent, or of no use.
        dropped: beginnings of the names that were left out.
    """

    name: str
    state: State
    quick_gelu: bool | None = None
    image_only: bool = False
    dropped: tuple[str, ...] = ()


def recognise(state: Mapping[str, Tensor], source: str) -> Variant:
    """What a state dict is, by its names.

    Args:
        state: as it was read.
        source: what an error calls the file.

    Raises:
        ValueError: weights that hold no tower of CLIP, and why.
    """
    names = list(state)
    if any(name.startswith("img_encoder.") for name in names):
        raise _refuse(source, "GroupViT", "its towers are no CLIP and its space has 256 channels", "TokenGrouping")
    if any("rpn." in name or "language_backbone" in name for name in names):
        raise _refuse(source, "GLIP", "it is a detector (Swin, BERT and a dynamic head)", "GatedCrossAttention")
    if any(name.startswith("class_model.model.") for name in names):
        kept, dropped = _keep(state, "class_model.model.")
        return Variant("DIVA", {k.removeprefix("class_model.model."): x for k, x in kept.items()}, dropped=dropped)
    if any(name.startswith("vision_model.") for name in names):
        return rename_hugging_face(state, source)
    if any(name.startswith("audio.") for name in names):
        extra = ("audio.", "logit_scale_ai", "logit_scale_at", "esresnet")
        kept = {key: x for key, x in state.items() if not key.startswith(extra)}
        return Variant("AudioCLIP", _image_scale(kept), True, dropped=extra[:3])
    if LONG in state:
        kept = {key: x for key, x in state.items() if key != LONG}
        kept["positional_embedding"] = torch.cat([state["positional_embedding"][:20], state[LONG][20:]])
        return Variant("Long-CLIP", kept, True)
    if "visual.proj2" in state:
        kept = {key: x for key, x in state.items() if key != "visual.proj2"}
        return Variant("DreamLIP", kept, False, dropped=("visual.proj2",))
    return Variant("", dict(state))


def _refuse(source: str, system: str, why: str, part: str) -> ValueError:
    return ValueError(
        f"{source} holds weights of {system}, which cannot be taken: {why}. Its idea is a part to train on any "
        f"encoder: fsar.fusion.{part}."
    )


def _keep(state: Mapping[str, Tensor], prefix: str) -> tuple[State, tuple[str, ...]]:
    dropped = dict.fromkeys(f"{key.split('.')[0]}." for key in state if not key.startswith(prefix))
    return {key: x for key, x in state.items() if key.startswith(prefix)}, tuple(dropped)


def _image_scale(state: State) -> State:
    """AudioCLIP calls the factor of image and text by CLIP's own name in some files and by its own in others."""
    other = state.pop("logit_scale_it", None)
    if other is not None:
        state.setdefault("logit_scale", other)
    return state


VISION = {
    r"embeddings\.class_embedding": "class_embedding",
    r"embeddings\.patch_embedding\.": "conv1.",
    r"embeddings\.position_embedding\.weight": "positional_embedding",
    r"pre_layrnorm\.": "ln_pre.",
    r"post_layernorm\.": "ln_post.",
    r"encoder\.layers\.": "transformer.resblocks.",
}
TEXT = {
    r"embeddings\.token_embedding\.": "token_embedding.",
    r"embeddings\.position_embedding\.weight": "positional_embedding",
    r"final_layer_norm\.": "ln_final.",
    r"encoder\.layers\.": "transformer.resblocks.",
}
BLOCK = {
    r"\.self_attn\.out_proj\.": ".attn.out_proj.",
    r"\.layer_norm([12])\.": r".ln_\1.",
    r"\.mlp\.fc1\.": ".mlp.c_fc.",
    r"\.mlp\.fc2\.": ".mlp.c_proj.",
}


def rename_hugging_face(state: Mapping[str, Tensor], source: str) -> Variant:
    """Names of transformers' ``CLIPModel`` to OpenAI's; a text tower that is not CLIP's stays out.

    Raises:
        ValueError: a name that is not one of ``CLIPModel``, or an attention that lacks one of q, k, v.
    """
    found: State = {}
    dropped: list[str] = []
    clip_text = any(key.startswith("text_model.embeddings.position_embedding") for key in state)
    for key, value in state.items():
        tower, _, rest = key.partition(".")
        if rest.endswith("position_ids"):
            continue
        if tower == "vision_model":
            found["visual." + _rename(rest, VISION)] = value
        elif key == "visual_projection.weight":
            found["visual.proj"] = value.mT.contiguous()
        elif key == "text_projection.weight" and clip_text:
            found["text_projection"] = value.mT.contiguous()
        elif tower == "text_model" and clip_text:
            found[_rename(rest, TEXT)] = value
        elif key == "logit_scale":
            found[key] = value
        elif tower.startswith("text"):
            dropped.append(f"{tower}.")
        else:
            raise ValueError(f"{source} looks like a CLIP of transformers, but holds {key!r}, which that has not.")
    joined = _join_attention(found, source)
    return Variant(
        "Hugging Face" if clip_text else "VeCLIP",
        joined,
        image_only=not clip_text,
        dropped=tuple(dict.fromkeys(dropped)),
    )


def _rename(key: str, table: Mapping[str, str]) -> str:
    for pattern, ours in {**table, **BLOCK}.items():
        key = re.sub(("" if pattern in BLOCK else "^") + pattern, ours, key)
    return key


def _join_attention(state: State, source: str) -> State:
    """``self_attn.{q,k,v}_proj`` of a block to one ``attn.in_proj``."""
    joined: State = {}
    for key, value in state.items():
        parts = re.fullmatch(r"(.*)\.self_attn\.([qkv])_proj\.(weight|bias)", key)
        if parts is None:
            joined[key] = value
            continue
        block, _, kind = parts.groups()
        if (name := f"{block}.attn.in_proj_{kind}") not in joined:
            joined[name] = torch.cat(list(_qkv(state, block, kind, source)))
    return joined


def _qkv(state: State, block: str, kind: str, source: str) -> Iterable[Tensor]:
    for name in ("q", "k", "v"):
        key = f"{block}.self_attn.{name}_proj.{kind}"
        if key not in state:
            raise ValueError(f"{source} lacks {key}: a part of an attention is missing.")
        yield state[key]
