"""`python -m ewarn`."""

from ewarn.cli import main

main()
