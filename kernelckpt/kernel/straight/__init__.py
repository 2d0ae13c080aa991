"""Straight-line agents: functions that are not written in turns, whose steps are recorded and replayed."""
