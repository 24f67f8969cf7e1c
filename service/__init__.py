"""The REST service: HTTP and nothing else."""
