"""Adapters inside a frozen ViT, and networks beside it; one paper one file. See docs/adapters.md.

>>> class Scale(Part):  # an adapter of your own: what it adds to a block, and a recipe that makes one for each
...     def __init__(self):
...         super().__init__()
...         self.factor = torch.nn.Parameter(torch.zeros(()))
...
...     def forward(self, block, x, clip):
...         return block(x) * (1 + self.factor)
>>> class Scaled(Adapter):
...     def part(self, index, tower):
...         return Scale()
>>> tower = Tower(width=8, heads=2, layers=2, hidden=32, grid=(2, 2), channels=8)
>>> Scaled().part(0, tower)(torch.nn.Linear(8, 8), torch.ones(4, 5, 8), Clip(frames=4)).shape  # (b·t 1+p D)
torch.Size([4, 5, 8])
>>> AIM().reads_text, MAClipAdapter().reads_text
(False, True)
"""

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
