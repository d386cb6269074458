"""What people read, in English and Spanish. Rendered where it is shown; the wire carries codes and numbers alone."""

from ewarn.messages.render import LANGUAGES, render

__all__ = ["LANGUAGES", "render"]
