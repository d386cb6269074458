"""The laboratory: history and simulations through the same pipeline that runs in the field."""
