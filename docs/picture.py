"""Draw `docs/sweep.svg`, the README's picture, from a finished sweep.

python docs/picture.py runs/<sweep>
"""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from slrtune.cli import console
from slrtune.cli.summary import print_sweep
from slrtune.sweep.results import read_results


def main() -> None:
    """Print the sweep's summary into a recording console, and save that as SVG."""
    folder = Path(sys.argv[1]).resolve()
    console.out = Console(record=True, width=190, highlight=False)
    print_sweep(read_results(folder))
    console.out.save_svg(
        str(Path(__file__).parent / "sweep.svg"), title=f"slrtune results {folder.name}"
    )


if __name__ == "__main__":
    main()
