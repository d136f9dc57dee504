"""`python -m app`: see `python -m app --help`."""

import sys

from app.cli.parser import main

if __name__ == "__main__":
    sys.exit(main())
