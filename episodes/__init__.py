"""Data for few-shot video action recognition: from a path to an :class:`~episodes.episode.Episode`."""
