"""Drivers: bytes of instruments on one side, readings on the other.

Register and line arithmetic is pure (`registers`, `planner`, `judgement`, `_frames`, `_ledger`, `_lines`); the rest is
I/O.
"""
