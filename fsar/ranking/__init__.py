"""Which method is best on these clips: heads trained on stored features over several divisions of the classes."""

from fsar.ranking.gains import Gain, gain_table, read_trial, write_trial
from fsar.ranking.pool import Pool, divide_classes, pool_of, store
from fsar.ranking.stored import StoredEncoder
from fsar.ranking.trial import Division, Kept, Trial, probe_many_shots, try_head

__all__ = [
    "Division",
    "Gain",
    "Kept",
    "Pool",
    "StoredEncoder",
    "Trial",
    "divide_classes",
    "gain_table",
    "pool_of",
    "probe_many_shots",
    "read_trial",
    "store",
    "try_head",
    "write_trial",
]
