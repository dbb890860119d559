"""`python -m mimflow` is `mimflow`."""

import sys

from mimflow.forking.client import run_there

if (code := run_there(sys.argv[1:])) is not None:
    sys.exit(code)

if not sys.flags.safe_path:
    # `python -m` looks in the current folder first: a project with a random.py would give it to the libraries.
    sys.path.append(sys.path.pop(0))

from mimflow.cli import main

main()
