"""Adapters inside a frozen ViT, and networks beside it; one paper one file. See docs/adapters.md."""

from fsar.adapters.aim import AIM
from fsar.adapters.base import Adapter, Clip, Part, Side, SideNetwork, StageAdapter, Tower
from fsar.adapters.d2st import D2STAdapter, D2STResNetAdapter
from fsar.adapters.evl import EVL
from fsar.adapters.ladder import Ladder
from fsar.adapters.lora import LoRA
from fsar.adapters.ma_clip import MAClipAdapter
from fsar.adapters.st_adapter import STAdapter
from fsar.adapters.task_adapter import OrderAdapter, TaskAdapter
from fsar.adapters.temporal_shift import TemporalShift

__all__ = [
    "AIM",
    "EVL",
    "Adapter",
    "Clip",
    "D2STAdapter",
    "D2STResNetAdapter",
    "Ladder",
    "LoRA",
    "MAClipAdapter",
    "OrderAdapter",
    "Part",
    "STAdapter",
    "Side",
    "SideNetwork",
    "StageAdapter",
    "TaskAdapter",
    "TemporalShift",
    "Tower",
]
