"""What processes of the tests are forked with: all that this program imports, and its own modules apart.

A process that runs the program takes these modules; one that runs a changed copy imports its own.
"""

import importlib
import sys

for module in ("sweeper.__main__", "sweeper.cli", "sweeper.runs.run", "sweeper.sweep.execute", "pytest"):
    importlib.import_module(module)
del sys.modules["sweeper.__main__"]  # which a process runs
PROGRAM = {name: it for name, it in sys.modules.items() if name.partition(".")[0] in ("sweeper", "hydra_plugins")}
for module in PROGRAM:
    del sys.modules[module]
