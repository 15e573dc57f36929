"""Cut stored outputs of released code down to what every clone carries.

    python tests/data/cut_reference.py FOLDER_OF_FULL_ARRAYS [TARGET]

A cut keeps whole outputs of the release: fewer cases, fewer queries, classes, clips or frames of a case, as far as the
released code treats them independently of each other. Nothing is computed again, with one exception that
:func:`thin_feed_forward` explains. Float32 stays float32.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
HERE = Path(__file__).resolve().parent


def part(arrays: Arrays, case: str) -> Arrays:
    """Arrays of a case under their short names."""
    return {key.removeprefix(f"{case}/"): x for key, x in arrays.items() if key.startswith(f"{case}/")}


def whole(arrays: Arrays, *cases: str) -> Arrays:
    """Cases as they are."""
    return {key: x for key, x in arrays.items() if key.split("/")[0] in cases}


def named(case: str, arrays: Arrays) -> Arrays:
    """Short names to those of the file."""
    return {f"{case}/{key}": x for key, x in arrays.items()}


def cut_pairs(arrays: Arrays) -> Arrays:
    """The first query with the first two classes of every case: each pair of clips is aligned on its own."""
    return {key: x[:1, :2] if x.ndim else x for key, x in arrays.items()}


def cut_frame_cosine(arrays: Arrays) -> Arrays:
    case = part(arrays, "case0")
    kept = {"query": case["query"][:2], "support": case["support"][:3]}
    return named("case0", {**kept, "cosine_similarity": case["cosine_similarity"][:2, :3]})


def cut_trx_head(arrays: Arrays) -> Arrays:
    """The smallest case, of three cardinalities; the norm that the release makes and never uses stays out."""
    return {key: x for key, x in whole(arrays, "case3").items() if "norm_v" not in key}


def cut_team(arrays: Arrays) -> Arrays:
    """The smallest case, without gradients."""
    return {key: x for key, x in whole(arrays, "case3").items() if "/grad_" not in key}


def cut_hyrsm(arrays: Arrays) -> Arrays:
    """One shot, five frames, without the features for each query and the positions, which are computed."""
    return without(whole(arrays, "case4"), "features", "pe.pe")


def cut_hyrsmpp(arrays: Arrays) -> Arrays:
    """The smallest case, likewise."""
    return without(whole(arrays, "case3"), "features", "pe.pe")


def cut_tokens(arrays: Arrays) -> Arrays:
    """The first case with all weights, without what stands between its inputs and its scores, and without gradients."""
    return {key: x for key, x in whole(arrays, "case0", "weight").items() if not key.startswith(BETWEEN)}


def cut_emp_net(arrays: Arrays) -> Arrays:
    """The smallest case with its first query, all weights, no gradients; the loss is over all queries."""
    case = part(arrays, "case1")
    kept = {key: x for key, x in case.items() if not key.startswith("grad_") and key != "loss"}
    for key in kept:
        if key.startswith("query_layer"):  # frames of a clip after each other
            kept[key] = kept[key][: int(case["frames"])]
        elif key in ("query_labels", "query_classes", "probabilities") or key.split("_logits")[0] in LEVELS:
            kept[key] = kept[key][:1]
        elif key.endswith("_class_logits"):  # supports first
            kept[key] = kept[key][: len(case["support_labels"]) + 1]
    return whole(arrays, "weight") | named("case1", kept)


def cut_heads(arrays: Arrays) -> Arrays:
    """Both heads; the towers are 190 kB."""
    return whole(arrays, "head0", "head1")


LEVELS = ("patch", "frame", "token")
BETWEEN = tuple(f"case0/{name}" for name in ("semantic", "task", "grad", "logits_global"))


def cut_molo(arrays: Arrays) -> Arrays:
    """The scores of an evaluation, with the losses of its logits; no decoder and no gradients."""
    kept = whole(arrays, "case3")
    decoder = ("case3/weight/up", "case3/weight/outc", "case3/after/", "case3/grad_")
    return without({key: x for key, x in kept.items() if not key.startswith(decoder)}, "pe.pe")


def without(arrays: Arrays, *ends: str) -> Arrays:
    """Arrays whose names end otherwise."""
    return {key: x for key, x in arrays.items() if not key.endswith(ends)}


def cut_strm(arrays: Arrays) -> Arrays:
    """Two classes and two queries of the smallest case, of two cardinalities; the losses are over all and stay out."""
    kept, case = {}, part(arrays, "case2")
    clips, queries = case["support_labels"] < 2, np.flatnonzero(case["query_labels"] < 2)[:2]
    for key, x in case.items():
        if key.startswith("support_"):
            kept[key] = x[clips]
        elif key.startswith("query_"):
            kept[key] = x[queries]
        elif "logits" in key:
            kept[key] = x[queries, :2]
        elif not key.startswith(("loss", "grad_")) and not key.endswith("_first") and "norm_v" not in key:
            kept[key] = x
    return named("case2", kept)


def cut_ta2n(arrays: Arrays) -> Arrays:
    """The warp and the mask by themselves; and from the offsets on, two classes and one query: what comes before has
    weights of 3 MB."""
    kept = {key: x for key, x in arrays.items() if key.startswith(("warp", "mask"))}
    case = part(arrays, "case2")
    kept |= named("case2", {key: case[key][:2] for key in ("theta_support", "support", "support_warped")})
    kept |= named("case2", {key: case[key][:1] for key in ("theta_query", "query", "query_warped")})
    pairs = ("offsets", "support_vectors", "query_vectors", "cost")
    kept |= named("case2", {key: case[key][:2, :1] for key in pairs})
    linear = ("keynet", "querynet", "valuenet")
    return kept | {key: x for key, x in arrays.items() if key.startswith("weight/") and key.split(".")[-2] in linear}


def take_classes(case: Arrays, classes: int, queries: int) -> Arrays:
    """The first labels of an episode, and the first queries of theirs. Outputs are those of these classes, as few-shot
    logits are each class's own; probabilities need all classes."""
    kept, rows = dict(case), case["support_labels"] < classes
    mine = np.flatnonzero(case["query_labels"] < classes)[:queries]
    for key in ("support", "support_labels", "support_classes"):
        if key in case:
            kept[key] = case[key][rows]
    for key in ("query", "query_labels", "query_classes"):
        if key in case:
            kept[key] = case[key][mine]
    kept["logits"] = case["logits"][mine, :classes]
    return kept


def cut_ape(arrays: Arrays) -> Arrays:
    """Two cases with three of their seven queries; channels are chosen by the whole cache, which stays whole."""
    by_query = ("query", "zero_shot_logits", "ape_logits", "tip_logits")
    return {key: x[:3] if key.split("/")[1] in by_query else x for key, x in whole(arrays, "case0", "case1").items()}


def cut_clip4clip(arrays: Arrays) -> Arrays:
    """Mean pooling alone: the Transformer's weights are 400 kB."""
    kept = ("frames", "frame_mask", "text", "logit_scale", "mean_pool_logits")
    return named("case0", {key: x for key, x in part(arrays, "case0").items() if key in kept})


def cut_action_clip(arrays: Arrays) -> Arrays:
    """The heads but the Transformers, of 0.1 and 1.6 MB, on two clips; the loss; the temporal shift."""
    kept = whole(arrays, "meanP", "Conv_1D", "LSTM", "kl_loss", "temporal_shift")
    for head in ("meanP", "Conv_1D", "LSTM"):
        for key in ("frames", "video"):
            kept[f"{head}/{key}"] = kept[f"{head}/{key}"][:2]
    for key in ("tokens_lnd", "shifted_lnd"):  # token, clip·frame, channel
        kept[f"temporal_shift/{key}"] = kept[f"temporal_shift/{key}"][:3, :8]
    unused = ("Conv_1D/weight/frame_position_embeddings.weight", "LSTM/weight/frame_position_embeddings.weight")
    return {key: x for key, x in kept.items() if key not in unused}


def cut_clip_fsar(arrays: Arrays) -> Arrays:
    """One training and three test cases. The training case keeps all clips, which its losses are over."""
    train = part(arrays, "train_1shot")
    train = {key: x for key, x in train.items() if not key.startswith("grad_")}
    kept = named("train_1shot", thin_feed_forward(train, hidden=128))
    combined = take_classes(part(arrays, "test_1shot_combined_0.9"), classes=5, queries=2)
    kept |= named("test_1shot_combined_0.9", thin_feed_forward(combined, hidden=64))
    five = take_classes(part(arrays, "test_5shot"), classes=2, queries=2)
    kept |= named("test_5shot", thin_feed_forward(five, hidden=112))
    text_only = take_classes(part(arrays, "test_1shot_text_only"), classes=5, queries=5)
    unused = {key: np.zeros_like(x) for key, x in text_only.items() if key.startswith("temporal/")}
    return kept | named("test_1shot_text_only", text_only | unused)


def thin_feed_forward(case: Arrays, hidden: int) -> Arrays:
    """Keep the first hidden units of the feed-forward part, and zero the other 2048 - ``hidden``.

    The output weights of the units that stay are solved anew (float64) so that every token that the case really sends
    through has the same output as with all units: the release's logits then follow from them too, to rounding. The
    gradients do not, so the cut holds none.
    """
    prefix = "temporal/layers.0."
    x = {key.removeprefix(prefix): v.astype(np.float64) for key, v in case.items() if key.startswith(prefix)}
    per_clip = np.argsort(case["support_labels"], kind="stable")
    words = case["text"][case["support_classes"]][:, None]
    support = np.concatenate([case["support"], words], axis=1)[per_clip].astype(np.float64)
    tokens = np.concatenate([attend(x, support)[:, :-1].reshape(-1, 16), attend(x, case["query"]).reshape(-1, 16)])
    before = gelu(tokens @ x["1.net.0.weight"].T + x["1.net.0.bias"])
    solved = np.linalg.lstsq(before[:, :hidden], before @ x["1.net.3.weight"].T, rcond=None)[0]
    x["1.net.0.weight"][hidden:], x["1.net.0.bias"][hidden:], x["1.net.3.weight"][:] = 0, 0, 0
    x["1.net.3.weight"][:, :hidden] = solved.T
    return case | {f"{prefix}{key}": v.astype(np.float32) for key, v in x.items()}


def attend(weights: dict[str, NDArray[np.float64]], tokens: Array) -> NDArray[np.float64]:
    """What enters the feed-forward part: ``x + W_o softmax(q kᵀ / sqrt 2) v`` with 8 heads of 2."""
    x = tokens.astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    normed = normed * weights["0.norm.weight"] + weights["0.norm.bias"]
    q, k, v = ((normed @ weights[f"0.fn.to_{n}.weight"].T).reshape(*x.shape[:2], 8, 2).swapaxes(1, 2) for n in "qkv")
    scores = np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(2))
    mixed = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(x.shape)
    return x + mixed @ weights["0.fn.to_out.0.weight"].T + weights["0.fn.to_out.0.bias"]


def gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


def cut_ts_fsar(arrays: Arrays) -> Arrays:
    """Logits and losses of both training cases; tokens and descriptors of two frames."""
    kept: Arrays = {}
    for name in ("case0", "case1"):
        case = part(arrays, name)
        big = ("support", "query", "side_tokens_first", "descriptors", "class_tokens", "clip_features")
        kept |= named(name, {k: x for k, x in case.items() if k not in big and not k.startswith("grad_weight")})
    tokens, descriptors = arrays["case0/side_tokens_first"], arrays["case0/descriptors"]
    return kept | {"case0/side_tokens_first": tokens[:2], "case0/descriptors": descriptors[:1, :2]}


def keep_whole(arrays: Arrays) -> Arrays:
    """A small file as it is."""
    return arrays


def cut_views(arrays: Arrays) -> Arrays:
    """The first cloud of points."""
    return {key: x if key == "rot_mat" else x[:1] for key, x in arrays.items()}


def cut_longclip(arrays: Arrays) -> Arrays:
    """Two channels of the positions; not the losses of its fine-tuning."""
    return {key: x[:, :2] for key, x in arrays.items() if key.endswith(("_77", "_248"))}


SMALL = ["groupvit_assign_soft", "groupvit_assign_hard", "groupvit_assign_gumbel", "groupvit_multi_label"]
SMALL += ["glip_bi_attention", "glip_alignment_map", "pointclip_inter_view_eval", "pointclip_inter_view_train_nodrop"]
SMALL += ["cpt_tint", "diva_condition", "diva_siglip_recap", "clipasso_loss", "fff_sigmoid", "dreamlip_one_text"]
SMALL += ["dreamlip_three_texts", "dreamlip_three_texts_softmax", "dreamlip_three_texts_inverse_p", "audioclip_loss"]
CUTS: dict[str, Callable[[Arrays], Arrays]] = {
    "otam": cut_pairs,
    "bi_mhm": cut_pairs,
    "frame_cosine": cut_frame_cosine,
    "task_adapter_pp": cut_heads,
    "trx_head": cut_trx_head,
    "hyrsm": cut_hyrsm,
    "hyrsmpp": cut_hyrsmpp,
    "strm": cut_strm,
    "ta2n": cut_ta2n,
    "molo": cut_molo,
    "team": cut_team,
    "clip_cpm2c": cut_tokens,
    "clip_fsar": cut_clip_fsar,
    "clip_mei": cut_tokens,
    "emp_net": cut_emp_net,
    "clip_spm": cut_tokens,
    "action_clip": cut_action_clip,
    "clip4clip": cut_clip4clip,
    "ape": cut_ape,
    "ts_fsar": cut_ts_fsar,
    "pointclip_views_zs": cut_views,
    "pointclip_views_fs": cut_views,
    "longclip": cut_longclip,
    **dict.fromkeys(SMALL, keep_whole),
}


def cut(folder: Path, name: str) -> Arrays:
    """The cut of one file in the folder of full arrays."""
    with np.load(folder / f"{name}.npz") as arrays:
        return CUTS[name](dict(arrays))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} FOLDER_OF_FULL_ARRAYS [TARGET]")
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else HERE
    for each in CUTS:
        found: dict[str, Any] = cut(Path(sys.argv[1]), each)
        np.savez_compressed(target / f"{each}.npz", **found)
