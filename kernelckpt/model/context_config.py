"""Thresholds by which a context is spooled, compressed and renewed."""

from __future__ import annotations

from math import isfinite

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32


class ContextConfig(Record, frozen=True, gc=False):
    """How a context gives way when it grows; ratios are of its `max_tokens`.

    Attributes:
        snip_threshold: pressure above which oversized messages are cut.
        micro_threshold: pressure above which large tool results are shortened.
        collapse_threshold: pressure above which the oldest messages are dropped.
        auto_threshold: pressure above which all but the newest messages are dropped.
        renewal_threshold: pressure above which the context is begun anew.
        target_after_compress: pressure at which a compression stops.
        snip_per_msg_ratio: the largest message that is not cut, at least 50 tokens.
        carryover_ratio: how much history a renewal carries over, at least 100 tokens.
        recovery_content_ratio: how much recovered content a renewal may bring back.
        preserve_recent_msgs: the newest messages that are never dropped.
        preserve_recent_turns: the newest exchanges that are never dropped, two messages each.
        micro_compact_idle_minutes: idle minutes after which tool results are shortened anyhow.
        spool_threshold_bytes: the largest tool result that stays whole in the history; 0 spools nothing.
        spool_preview_bytes: how much of a spooled result stays.
        verbose_control_notes: whether the kernel's notes are full sentences.
    """

    snip_threshold: float = 0.70
    micro_threshold: float = 0.80
    collapse_threshold: float = 0.90
    auto_threshold: float = 0.95
    renewal_threshold: float = 0.98
    target_after_compress: float = 0.65
    snip_per_msg_ratio: float = 0.05
    carryover_ratio: float = 0.05
    recovery_content_ratio: float = 0.25
    preserve_recent_msgs: U32 = 4
    preserve_recent_turns: U32 = 2
    micro_compact_idle_minutes: U32 = 60
    spool_threshold_bytes: U32 = 51_200
    spool_preview_bytes: U32 = 2_048
    verbose_control_notes: bool = False

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} is {value}: a ratio is a number, 0 or more")
