"""Use what was trained: predict, list errors, compare, export."""
