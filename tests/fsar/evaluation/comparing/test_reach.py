"""What stands under an accuracy: how far it reaches, chance, and a method that looks at nothing."""

from __future__ import annotations

import numpy as np

from fsar.evaluation.comparing.reach import describe_reach, measure_reach


def _arrays(right: float, classes: int = 4, clips: int = 10, episodes: int = 400) -> dict[str, np.ndarray]:
    """2-way episodes whose queries are named right with this probability, by clip."""
    generator = np.random.default_rng(0)
    chosen = np.stack([generator.permutation(classes)[:2] for _ in range(episodes)])
    truth = np.tile([0, 1], (episodes, 1))
    video = chosen * clips + generator.integers(clips, size=(episodes, 2))
    easy = generator.random(classes * clips) < right
    hit = easy[video]
    scores = np.zeros((episodes, 2, 2))
    np.put_along_axis(scores, np.where(hit, truth, 1 - truth)[..., None], 1.0, -1)
    return {"classes": chosen, "truth": truth, "video": video, "scores": scores, "number": np.arange(episodes)}


def test_other_clips_and_classes_are_another_question_than_other_episodes() -> None:
    arrays = _arrays(0.6)
    facts = measure_reach(arrays)
    low, high = facts["interval_over_classes"]
    accuracy = float((arrays["scores"].argmax(-1) == arrays["truth"]).mean())
    spread = (arrays["scores"].argmax(-1) == arrays["truth"]).mean(-1).std() / 400**0.5
    assert low < accuracy < high
    assert high - low > 4 * 2 * 1.96 * spread * 0.9
    assert facts["classes_seen"] == 4
    assert "chance (50 %) is not ruled out" in describe_reach(facts)
    assert "chance" not in describe_reach(measure_reach(_arrays(0.95)))


def test_a_constant_answer_is_told() -> None:
    arrays = _arrays(0.6)
    arrays["scores"][:] = [1.0, 0.0]
    facts = measure_reach(arrays)
    assert facts["same_guess"] is True
    assert "nothing was recognised (chance 50 %)" in describe_reach(facts)


def test_queries_without_numbers_and_single_classes_say_less() -> None:
    arrays = _arrays(0.6)
    arrays["video"][:] = -1
    assert measure_reach(arrays) == {"chance": 0.5, "same_guess": False}
    assert describe_reach({"chance": 0.5}) == "± is over episodes"
