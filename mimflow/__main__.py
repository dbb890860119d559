"""`python -m mimflow` is `mimflow`."""

import sys

if not sys.flags.safe_path:
    # `python -m` looks in the current folder first: a project with a random.py would give it to the libraries.
    sys.path.append(sys.path.pop(0))

from mimflow.cli import main

main()
