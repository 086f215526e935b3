"""Checkpoint to artifact, artifact to engine formats. Read `artifact.py` first."""
