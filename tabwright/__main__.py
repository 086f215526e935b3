"""`python -m tabwright` is the `tabwright` command."""

import sys

from tabwright.cli import main

sys.exit(main())
