"""What every comparison is made with: processes on their CPUs, peers, fleets, load, figures and plots."""
