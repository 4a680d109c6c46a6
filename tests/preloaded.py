"""What processes of the tests are forked with: all that this program imports, but not the program itself.

So a changed copy of the program can be run as well.
"""

import importlib
import sys

for module in ("sweeper.__main__", "sweeper.cli", "sweeper.runs.run", "sweeper.sweep.execute", "pytest"):
    importlib.import_module(module)
for module in [name for name in sys.modules if name.partition(".")[0] in ("sweeper", "hydra_plugins")]:
    del sys.modules[module]
