"""Steps that turn what a model wrote into what an editor should show. Read `stops.py` first."""
