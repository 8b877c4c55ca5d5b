"""`python -m prismq` is `prismq`."""

from __future__ import annotations

import sys

from prismq.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
