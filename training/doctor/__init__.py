"""The hardware lottery: measure every rank before a run and name the slow one. See `probe.py`."""
