"""What raydl costs on this machine: ``python -m tests.benchmarks.engine``."""
