"""Reading records: tables over many runs. Nothing here imports torch."""
