"""What loadgen/bench/routing.py runs: one scenario per file."""
