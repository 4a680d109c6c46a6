"""Read records: tables of many runs. Nothing here imports torch."""
