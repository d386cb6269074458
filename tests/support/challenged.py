"""Entries of a challenge, made from a few rows without a pipeline."""

import numpy as np

from ewarn.config.tables import DetectionTable
from ewarn.lab.entry import Entry, Run, SensorCount
from ewarn.lab.gallery import Shot, scenes_of
from ewarn.lab.judge import Course

STEP, ROWS = 900.0, 4032  # six weeks


def flags(*spans):
    out = np.zeros(ROWS, dtype=bool)
    for a, b in spans:
        out[a:b] = True
    return out


def run(events=((1000, 1024), (3000, 3024)), found=1, seed=1):
    """Two events; the first ones are found, and one false alarm is at row 2000."""
    rng, event = np.random.default_rng(seed), flags(*events)
    alert = flags(*((a + 2, b) for a, b in events[:found]), (2000, 2010))
    course = Course(STEP, event, flags((0, ROWS)), flags(), np.where(event, 1 + flags(*events[1:]), 0.0))
    probability = np.where(alert, 0.9, rng.uniform(0, 0.2, ROWS))
    columns = {"ph": 8 + rng.normal(0, 0.02, ROWS) - event, "spcond": 900 + rng.normal(0, 1, ROWS)}
    count = SensorCount(faults=4, alarmed=1, named=3, others=1000, others_named=20, events=len(events), events_named=1)
    scenes = scenes_of(Shot(course, columns, probability, alert))
    return Run(course, probability, alert, count, 0.98, 250.0, scenes)


def entry(record="r", detectors="residual", **settings):
    return Entry.of(record, "labelled", detectors, (run(**settings),), seeds=(), detection=DetectionTable())
