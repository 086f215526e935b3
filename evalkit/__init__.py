"""Pass@k that can be trusted. So far only the estimator stands; read `estimate.py`.

The sandbox, the benchmarks and the runs come with their own issue.
"""
