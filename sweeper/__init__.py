"""Sweeps over training tricks for image classification: compose a run, train it once, compare honestly."""
