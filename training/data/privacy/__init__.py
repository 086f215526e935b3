"""What in code says who somebody is or lets somebody in, and what takes its place."""
