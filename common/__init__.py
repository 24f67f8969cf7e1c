"""Errors, files, arguments, text, sockets, plotting, packages, and the convention of class folders:
what every other folder may use. No torch.
"""

import sys
from importlib.util import find_spec

if find_spec("tqdm") is None:  # before any command can say so: its own imports would fail first
    print(
        f"error: the packages in requirements.txt are not installed for {sys.executable}: "
        "activate the environment (. .venv/bin/activate), or pip install -r requirements.txt",
        file=sys.stderr,
    )
    sys.exit(2)
