"""Synthetic water for the pure core."""

import random

from ewarn.contracts import Quality, Reading

T0 = 1_780_000_020_000 - 1_780_000_020_000 % 60_000
MINUTE = 60_000
WATER = {"ph": (8.0, 0.02), "spcond": (950.0, 3.0), "do": (8.0, 0.05), "orp": (300.0, 2.0), "uv254": (0.12, 0.002)}
PROBES = {"sonde": ["ph", "spcond", "do"], "redox": ["orp"], "cabinet": ["uv254"]}


class Water:
    """Quiet water, one batch a minute; `change` adds to channels from a minute on, `dead` silences probes."""

    def __init__(self, seed=1):
        self.rng = random.Random(seed)
        self.minute = 0
        self.change = {}
        self.dead = set()

    def batch(self):
        self.minute += 1
        time = T0 + self.minute * MINUTE
        readings = []
        for probe, channels in PROBES.items():
            for channel in channels:
                mean, noise = WATER[channel]
                value = mean + self.rng.gauss(0, noise) + self.change.get(channel, 0.0)
                dead = probe in self.dead
                readings.append(
                    Reading(channel, time, None, Quality.MISSING, "no_reply") if dead else Reading(channel, time, value)
                )
        return time, readings

    def feed(self, pipeline, minutes):
        """Steps of that many minutes."""
        return [pipeline.accept(*self.batch()) for _ in range(minutes)]
