"""Detectors, one a file; each has river's `learn_one` and `score_one`. river does the learning."""
