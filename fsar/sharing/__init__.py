"""Runs as others see them: a run folder, a published folder, a Hugging Face repository; what of them is trusted."""

from fsar.sharing.run import Run, is_repository, open_run, read_checkpoint

__all__ = ["Run", "is_repository", "open_run", "read_checkpoint"]
