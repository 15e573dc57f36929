"""Runs as others see them: a run folder, a published folder, a Hugging Face repository; what of them is trusted.

>>> Path("mine/checkpoints").mkdir(parents=True)  # what fsar fit writes, in small
>>> _ = Path("mine/config.yaml").write_text("{model: {method: {}}, data: {}}")
>>> torch.save({"state_dict": {"scale": torch.ones(1)}}, "mine/checkpoints/best.ckpt")
>>> run = open_run("mine")
>>> run.config, run.checkpoint["state_dict"]
('mine/config.yaml', {'scale': tensor([1.])})
>>> is_repository("mine"), is_repository("user/name")
(False, True)
"""

from fsar.sharing.run import Run, is_repository, open_run, read_checkpoint

__all__ = ["Run", "is_repository", "open_run", "read_checkpoint"]
