"""`python -m mimflow` is `mimflow`."""

from mimflow.cli import main

main()
