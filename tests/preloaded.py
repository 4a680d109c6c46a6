"""What processes of the tests are forked with: all that this program imports, and its own modules apart.

A process that runs the program takes these modules; one that runs a changed copy imports its own.
"""

import gc
import importlib
import sys

from PIL import Image

OWN = ("__main__", "cli", "runs.run", "sweep.execute", "summary.conclusion")
LIBRARIES = ("pytest", "sklearn.datasets", "torch.utils.tensorboard", "torchvision", "timm")
for module in (*(f"sweeper.{name}" for name in OWN), *LIBRARIES):
    importlib.import_module(module)
Image.preinit()
del sys.modules["sweeper.__main__"]  # which a process runs
PROGRAM = {name: it for name, it in sys.modules.items() if name.partition(".")[0] in ("sweeper", "hydra_plugins")}
for module in PROGRAM:
    del sys.modules[module]
gc.freeze()  # collections in the processes then pass over all of it
