"""Memory of `up` at rest, in all its processes: `python -m tests.bench.memory [SECONDS]`.

PSS counts a page that several processes share only once in total, so that its sum is the memory that the product uses. RSS counts
such pages once for each process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.support.product import Product
from tests.support.waiting import command_line, pass_time

SECONDS = 30.0
PARTS = (
    "management.up_process",
    "reaper_script",
    "serving_ui.server",
    "--quiet worker",
    "--quiet beat",
    "local_models",
)


def megabytes(process: int) -> tuple[float, float]:
    """PSS and RSS of one process."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
    return kilobytes["Pss"] / 1024, kilobytes["Rss"] / 1024


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder)).up() as product:
        pass_time(seconds)
        processes = [product.program.process.pid, *product.program.descendants()]
        found = {process: megabytes(process) for process in processes}
        print(f"{'process':24}{'PSS MB':>10}{'RSS MB':>10}")
        for process, (pss, rss) in found.items():
            part = next((each for each in PARTS if each in command_line(process)), command_line(process))
            print(f"{part:24}{pss:10.1f}{rss:10.1f}")
        print(f"{'all':24}{sum(p for p, _ in found.values()):10.1f}{sum(r for _, r in found.values()):10.1f}")


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
