"""Tensors by name: read from files, checked, loaded strictly or refused with the reason, and hashed.

No pickle is executed: files are read with ``weights_only=True`` or as safetensors, and OpenAI's own archives, which
are TorchScript, by TorchScript's reader, which does not run Python.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from episodes.words import pluralise

OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")


def read_state(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The tensors of a weights file, names as the file has them but for a ``module.`` prefix.

    Returns:
        The state dict, and whether the file is known to come from OpenAI (and so needs QuickGELU).

    Raises:
        ValueError: when the file is damaged, is no state dict, holds NaN, or would need code to be run.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        elif _is_torchscript(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated; OpenAI's files are not
                content = torch.jit.load(path, map_location="cpu").state_dict()
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, safetensors.SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        if isinstance(error, pickle.UnpicklingError):
            reason = "it is damaged, or holds more than tensors"
        raise ValueError(
            f"{path} cannot be read as weights (TorchScript of OpenAI, safetensors, or a torch file of tensors only): "
            f"{reason}"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"{path} holds no state dict (names with tensors), nor one under the key 'state_dict'.")
    if all(key.startswith("module.") for key in content):
        content = {key.removeprefix("module."): value for key, value in content.items()}
    openai = OPENAI_NUMBERS[0] in content
    state = {key: value for key, value in content.items() if key not in OPENAI_NUMBERS}
    refuse_nan(state, str(path))
    return state, openai


def refuse_nan(state: Mapping[str, Tensor], source: str) -> None:
    """Weights that are no numbers make every feature one, and every accuracy chance.

    Raises:
        ValueError: names the tensors that hold NaN or infinity; masks may hold infinity.
    """
    bad = []
    for name, tensor in state.items():
        if tensor.numel() and tensor.is_floating_point():
            low, high = tensor.aminmax()
            masked = name.rsplit(".", 1)[-1].endswith("mask")
            if torch.isnan(low) if masked else not (torch.isfinite(low) and torch.isfinite(high)):
                bad.append(name)
    if bad:
        raise ValueError(
            f"{source} holds NaN or infinity in {pluralise(len(bad), 'tensor')}: {list_names(bad)}. A training that "
            "diverged leaves such weights, and so does a file that was damaged or cast to too narrow a type: take "
            "another one."
        )


def kind_of(value: object) -> str:
    """What a weight is, in words, apart from its precision."""
    if not isinstance(value, Tensor):
        return f"no tensor but a {type(value).__name__}"
    numbers = "numbers" if value.is_floating_point() else "complex numbers" if value.is_complex() else "whole numbers"
    return f"{numbers} {tuple(value.shape)}"


def refuse_other_kinds(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> None:
    """Weights of another shape do not fit, and whole numbers would be taken for weights in silence.

    Raises:
        ValueError: that begins with ``what``, and names the first such tensor.
    """
    for name in sorted(wanted):
        if (here := kind_of(wanted[name])) != (there := kind_of(found[name])):
            raise ValueError(f"{what}: {name} holds {there}, and {here} are needed. Use the configuration it is of.")


def strict_load(
    network: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    target: str,
    suggest: Callable[[Mapping[str, Tensor]], str] = lambda state: "",
) -> None:
    """Loads every tensor or none; ``source`` and ``target`` are what an error calls the file and the network.

    Raises:
        ValueError: names what is missing, unexpected or of another shape, and what ``suggest`` makes of the file.
    """
    wanted = network.state_dict()
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    reshaped = [
        f"{key} (file {tuple(state[key].shape)}, model {tuple(wanted[key].shape)})"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    groups = (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
    found = "; ".join(f"{len(names)} {kind}: {list_names(names)}" for kind, names in groups if names)
    if found:
        raise ValueError(f"{source} does not fit {target}. Tensors {found}.\n{suggest(state)}".rstrip())
    refuse_other_kinds(wanted, state, f"{source} does not fit {target}")
    network.load_state_dict(state)


def list_names(names: list[str], most: int = 2) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def sha256_of(about: list[object], weights: Mapping[str, Tensor]) -> str:
    """SHA-256 in hex of plain values, and of tensors with their names, dtypes and shapes."""
    return hash_tensors(weights, json.dumps(about).encode())


def hash_tensors(tensors: Mapping[str, Tensor], start: bytes = b"", types: bool = True) -> str:
    """SHA-256 in hex over ``start`` and then, sorted by name, the name and the bytes of every tensor.

    Args:
        tensors: such as a state dict.
        start: what else decides.
        types: dtype and shape are covered, too; the frozen weights that checkpoints name are hashed without.
    """
    digest = hashlib.sha256(start)
    for name, tensor in sorted(tensors.items()):
        digest.update((f"{name} {tensor.dtype} {tuple(tensor.shape)}" if types else name).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def frozen_names(module: nn.Module) -> set[str]:
    """Names of parameters that are not trained, and of buffers in submodules that train nothing."""
    names = {name for name, p in module.named_parameters() if not p.requires_grad}
    for prefix, part in module.named_modules():
        own = list(part.parameters())
        if own and not any(p.requires_grad for p in own):
            names |= {f"{prefix}.{name}".removeprefix(".") for name, _ in part.named_buffers()}
    return names


def frozen_fingerprint(module: nn.Module) -> str:
    """sha256 over names and bytes of all parameters and buffers that :func:`frozen_names` names."""
    frozen = frozen_names(module)
    return hash_tensors({name: x for name, x in module.state_dict().items() if name in frozen}, types=False)
