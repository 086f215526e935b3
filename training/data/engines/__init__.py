"""What the data steps run on: this machine's cores, or a Spark cluster."""
