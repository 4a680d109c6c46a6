"""Sweeps over training tricks for image classification: compose runs, train each once, compare them fairly."""
