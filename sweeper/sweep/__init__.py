"""Sweeps: which runs a command asks for, checked before the first one starts."""
