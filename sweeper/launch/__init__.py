"""Launching the runs of a sweep: worker processes and Slurm."""
