"""What all tests share."""

from hypothesis import settings

pytest_plugins = ["services"]

settings.register_profile("ewarn", deadline=None, derandomize=True)  # shared machines stall; CI repeats what it saw
settings.load_profile("ewarn")
