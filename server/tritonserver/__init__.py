"""A real Triton server on this machine: its private environment, its process, what it serves."""
