"""Any of river's anomaly detectors, by the name of its class: `name = "river.anomaly.HalfSpaceTrees"`.

What the class takes, in place of raw values whose trend and outliers would own its scale, are the robust residuals z of
every channel: |z|/10, at most 1, for half-space trees, which divide [0, 1]; z itself, within ±10, for all others. A
channel that is missing counts as quiet; with `on = "values"` it keeps its last value. A class sees the channels that
the station declares, or else those of the first sample, and no others.

A class's scores have a scale of their own. So, unless a `threshold` in that scale is given, the score is
exp(score - q), q being river's running `quantile` of the scores so far (Jain and Chlamtac, CACM 28, 1985), and its
threshold is 1. The quantile is of all scores, those of events too; else it would sink for ever.

>>> make = AnyRiver.named("river.anomaly.HalfSpaceTrees")
>>> detector = make(step_s=60, resolution={"ph": 0.01, "spcond": 1.0}, n_trees=10, window_size=100)
>>> for i in range(600):
...     detector.learn_one({"ph": 8 + 0.01 * (i % 3), "spcond": 900 + i % 5})
>>> quiet, loud = {"ph": 8.01, "spcond": 902}, {"ph": 7.0, "spcond": 950}
>>> detector.score_one(loud) > max(detector.threshold, detector.score_one(quiet))
True
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from river import anomaly, base, stats

from detectors._channels import judged
from detectors._residuals import Residuals
from ewarn.errors import PluginError

_USUAL = "river.anomaly.HalfSpaceTrees"
_USUAL_QUANTILE = 0.999
_KNOWN = 200
_HOLD_S = 1800.0
_UNIT, _WIDE = 0.1, 10.0
_FARTHEST = 13.8
"""exp of it is a million: enough for any order, and far from infinite."""
_MOST_NODES = 25 * 2**12
"""Nodes of half-space trees: 25 trees of height 12 take 46 MB, and each more of height doubles it."""


class AnyRiver(base.AnomalyDetector):
    """A river class on residuals.

    Args:
        kind: dotted name of the class.
        step_s: seconds between samples.
        resolution: smallest step of each channel's instrument; without it, channels are those of the first sample.
        roles: channels named "operation" are passed over.
        level_s: memory of a channel's level, seconds; eight steps at least.
        on: "residuals" or "values".
        quantile: of the past scores, where an event begins; 0 to compare the class's own score with `threshold`.
        threshold: score from which a sample is abnormal.
        settings: of the class itself.

    Raises:
        PluginError: there is no such class, or it is none that could be used here.
        ValueError: settings that cannot be.
    """

    gates_itself: ClassVar[bool] = True

    def __init__(
        self,
        *,
        kind: str = _USUAL,
        step_s: float = 60.0,
        resolution: Mapping[str, float] | None = None,
        roles: Mapping[str, str] | None = None,
        level_s: float = 3600.0,
        on: str = "residuals",
        quantile: float = _USUAL_QUANTILE,
        threshold: float = 1.0,
        **settings: Any,
    ) -> None:
        if on not in ("residuals", "values"):
            raise ValueError(f'on = {on!r} cannot be; "residuals" or "values"')
        if not 0 <= quantile < 1:
            raise ValueError(f"quantile {quantile} has to be 0 or between 0 and 1, as {_USUAL_QUANTILE}")
        self.kind, self.step_s, self.resolution, self.roles, self.level_s = kind, step_s, resolution, roles, level_s
        self.on, self.quantile, self.threshold, self.settings = on, quantile, threshold, settings
        found: Any = class_of(kind)
        self._model: Any = found(**settings)
        self._unit = issubclass(found, anomaly.HalfSpaceTrees)
        if self._unit:
            _check_size(self._model.height, self._model.n_trees)
        self._residuals = Residuals(step_s, resolution, roles, level_s)
        self._last = {name: 0.0 for name in sorted(resolution or {}) if judged(name, roles)}
        self._quantile: Any = stats.Quantile(quantile) if quantile else None
        self._scored = self._held = 0
        self._cache: tuple[dict[Any, Any], dict[str, float], float] | None = None

    @classmethod
    def named(cls, name: str) -> Callable[..., AnyRiver]:
        """Makes detectors of one class; its signature tells the settings of the class beside our own.

        Raises:
            PluginError: there is no such class, or it is none that could be used here.
        """
        theirs = [p.replace(kind=p.KEYWORD_ONLY) for p in _plain(class_of(name))]
        ours = [p for p in inspect.signature(cls).parameters.values() if p.kind is p.KEYWORD_ONLY and p.name != "kind"]
        taken = {p.name for p in theirs}
        return _Maker(cls, name, inspect.Signature([*(p for p in ours if p.name not in taken), *theirs]))

    def learn_one(self, x: dict[Any, Any]) -> None:
        """Take the sample's score into the quantile, and the sample into the class unless an event is suspected."""
        if not self._last:
            self._last = {name: float(x[name]) for name in sorted(x) if judged(name, self.roles)}
        if any(name in x for name in self._last):
            _, seen, raw = self._look(x)
            self._learn_unless(self._judged(raw) >= self.threshold, seen)
            if self._quantile is not None and raw != 0:  # (0 is what a class says that is not ready)
                self._quantile.update(raw)
                self._scored += 1
        self._cache = None
        self._residuals.learn(x)
        self._last.update({name: float(x[name]) for name in self._last if name in x})

    def score_one(self, x: dict[Any, Any]) -> float:
        """Score of the class, or exp of what it is above the quantile."""
        return self._judged(self._look(x)[2]) if any(name in x for name in self._last) else 0.0

    def _learn_unless(self, suspected: bool, seen: dict[str, float]) -> None:
        """Have the class learn; of an event, what lasts longer than half an hour."""
        if suspected and self._held < _HOLD_S / self.step_s:
            self._held += 1
            return
        self._held = max(0, self._held - (not suspected))
        self._model.learn_one(seen)

    def _look(self, x: dict[Any, Any]) -> tuple[dict[Any, Any], dict[str, float], float]:
        """The sample, what the class is shown of it, and its score; kept, since scoring costs most."""
        if self._cache is None or self._cache[0] != x:
            seen = self._seen(x)
            score = float(self._model.score_one(seen))
            self._cache = dict(x), seen, score if math.isfinite(score) else 0.0
        return self._cache

    def _judged(self, raw: float) -> float:
        if self._quantile is None:
            return max(0.0, raw)
        if self._scored < _KNOWN or raw == 0:
            return 0.0
        return math.exp(min(_FARTHEST, raw - self._quantile.get()))

    def _seen(self, x: dict[Any, Any]) -> dict[str, float]:
        """What the class is shown: always the same channels, always finite."""
        if self.on == "values":
            return {name: float(x.get(name, last)) for name, last in self._last.items()}
        residuals = {name: self._scaled(z) for name, z, _ in self._residuals.of(x)}
        return {name: residuals.get(name, 0.0) for name in self._last}

    def _scaled(self, z: float) -> float:
        return min(1.0, abs(z) * _UNIT) if self._unit else min(_WIDE, max(-_WIDE, z))

    @classmethod
    def _unit_test_params(cls) -> Any:
        yield {"seed": 1, "window_size": 50}


class _Maker:
    """Makes detectors of one class."""

    def __init__(self, kind: type[AnyRiver], name: str, signature: inspect.Signature) -> None:
        self._kind, self._name, self.__signature__ = kind, name, signature

    def __call__(self, **given: Any) -> AnyRiver:
        if "threshold" in given:
            if "quantile" in given:
                raise ValueError("threshold and quantile exclude each other; leave one out")
            given["quantile"] = 0.0
        if "seed" in self.__signature__.parameters:
            given.setdefault("seed", 1)  # what is not seeded does not repeat
        return self._kind(kind=self._name, **given)


def class_of(name: str) -> type[base.AnomalyDetector]:
    """The river class of that dotted name, as `river.anomaly.LODA`.

    Raises:
        PluginError: there is no such class, or it is none that could be used here.
    """
    module, _, last = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), last, None) if module.startswith("river.") else None
    except ImportError:
        found = None
    if inspect.isclass(found) and issubclass(found, base.AnomalyDetector):
        return found
    if inspect.isclass(found) and issubclass(found, base.SupervisedAnomalyDetector):
        problem = f"{name!r} is supervised: it judges a target, and water has none"
    elif inspect.isclass(found) and issubclass(found, base.AnomalyFilter):
        problem = f"{name!r} is a filter around a detector; name the detector itself, with `threshold` or `quantile`"
    elif found is not None:
        problem = f"{name!r} is no anomaly detector"
    else:
        problem = f"river has no {name!r}"
    raise PluginError(f"{problem}; it has: {', '.join(_known())}")


def _check_size(height: int, n_trees: int) -> None:
    """Refuse half-space trees that would take all memory."""
    if not (height > 0 and n_trees > 0 and n_trees * 2**height <= _MOST_NODES):
        raise ValueError(f"height and n_trees have to be more than 0, and n_trees times 2^height {_MOST_NODES} at most")


def _known() -> list[str]:
    kinds = (getattr(anomaly, name) for name in sorted(anomaly.__all__))
    return [f"river.anomaly.{k.__name__}" for k in kinds if issubclass(k, base.AnomalyDetector)]


def _plain(kind: type) -> list[inspect.Parameter]:
    """Its settings that a station file can say: not those that are objects."""
    found = inspect.signature(kind).parameters.values()
    return [p for p in found if isinstance(p.default, (bool, int, float, str)) or p.name == "seed"]
