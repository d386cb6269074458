"""The command line: one verb a file; arguments there, work elsewhere."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ewarn import __version__
from ewarn.cli import challenge, check, collect, demo, figures, history, plugins, replay, run, simulate
from ewarn.errors import EwarnError

app = typer.Typer(
    name="ewarn",
    help="Early warning of contamination at drinking-water intakes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("collect")(collect.collect)
app.command("simulate")(simulate.simulate)
app.command("replay")(replay.replay)
app.command("challenge")(challenge.challenge)
app.command("figures")(figures.figures)
app.command("history")(history.history)
app.command("check")(check.check)
app.command("plugins")(plugins.plugins)
app.command("demo")(demo.demo)


def _version(value: bool) -> None:
    if value:
        print(f"ewarn {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; an error that a person can mend is one line on stderr and exit status 2."""
    try:
        app()
    except EwarnError as error:
        print(f"ewarn: {error}", file=sys.stderr)
        sys.exit(2)
