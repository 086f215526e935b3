"""Raw code to token shards. Read `sources.py`, then `shards.py`."""
