"""Small JSON files that are there whole or not at all."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


def save(path: Path, document: dict[str, Any]) -> None:
    """Replace the file, durably. A disk that takes nothing is logged."""
    fresh = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error)


def load(path: Path) -> dict[str, Any]:
    """What the file holds; nothing where there is none, or where it cannot be read, which is logged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("%s cannot be read and is begun anew: %s", path, error)
        return {}
    return document if isinstance(document, dict) else {}
