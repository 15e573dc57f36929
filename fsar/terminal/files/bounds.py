"""How large YAML of others may be: what a few lines can stand for is counted before anything is built."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

BYTES, DEPTH, NODES = 256 * 1024, 48, 50_000
"""A run's configuration has about 5 kB, 10 levels and 300 nodes."""


@dataclass
class _Part:
    """A node that is being read: how many nodes it stands for, over how many levels."""

    anchor: str | None
    nodes: int = 1
    depth: int = 1

    def take(self, nodes: int, depth: int) -> None:
        """Put a whole node into this one."""
        self.nodes, self.depth = self.nodes + nodes, max(self.depth, depth + 1)


def check_bounds(text: str, origin: str) -> None:
    """Refuse YAML that is too large, too deep, or by its aliases stands for too much.

    The events of the parser are counted, which takes no longer than the text is long: an alias counts as all that it
    stands for. What is no YAML is left for the parser to tell.

    Args:
        text: YAML.
        origin: where it comes from, for the message.

    Raises:
        ValueError: says which bound is passed.
    """
    if len(text) > BYTES:
        raise ValueError(f"{origin} has {len(text):,} characters: a configuration has at most {BYTES:,}.")
    whole, known = _Part(None, 0, 0), dict[str, tuple[int, int]]()
    open_parts = [whole]
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in known:
                    raise ValueError(f"{origin}: *{event.anchor} stands within itself, or before what it repeats.")
                open_parts[-1].take(*known[event.anchor])
            elif isinstance(event, yaml.CollectionStartEvent):
                open_parts.append(_Part(event.anchor))
            elif isinstance(event, yaml.ScalarEvent | yaml.CollectionEndEvent):
                part = open_parts.pop() if isinstance(event, yaml.CollectionEndEvent) else _Part(event.anchor)
                if part.anchor:
                    known[part.anchor] = (part.nodes, part.depth)
                open_parts[-1].take(part.nodes, part.depth)
            if len(open_parts) > DEPTH or open_parts[-1].depth > DEPTH:
                raise ValueError(f"{origin} is more than {DEPTH} levels deep, which no configuration is.")
            if open_parts[-1].nodes > NODES:
                raise ValueError(f"{origin} stands for more than {NODES:,} values, which no configuration does.")
    except (yaml.YAMLError, RecursionError):
        return
