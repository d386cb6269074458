"""Early warning of contamination at drinking-water intakes."""

__version__ = "0.1.0"
