"""`ewarn plugins`."""

from __future__ import annotations

import typer


def plugins() -> None:
    """List the drivers and detectors that are found, with the distribution that brings each."""
    from ewarn import registry

    found = registry.plugins()
    for plugin in found:
        kind = plugin.group.removeprefix("ewarn.").removesuffix("s")
        print(
            f"{kind:9} {plugin.name:20} {plugin.distribution}"
            + (f"  BROKEN: {plugin.problem}" if plugin.problem else "")
        )
    if any(plugin.problem for plugin in found):
        raise typer.Exit(1)
