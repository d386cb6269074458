"""The field daemon: reads probes, decides, keeps, sends."""
