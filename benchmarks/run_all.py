"""One table of ratios: what a run's parts take beside RecBole's own classes and beside the floor.

    python benchmarks/run_all.py

Runs the scripts of loading, negatives, evaluation and graphs one after the other, each of which
measures its sides in turns, and prints what they print.
"""

import subprocess
import sys
from pathlib import Path

SCRIPTS = {
    "loading a million interactions": ["loading.py", "--rounds=5"],
    "negatives": ["negatives.py", "--pairs=5"],
    "full-sort evaluation": ["evaluation.py", "--pairs=5"],
    "graphs of a million interactions": ["graph.py", "--rounds=5"],
}


def main() -> None:
    """Run each script and print its figures under a heading."""
    for title, (script, *words) in SCRIPTS.items():
        print(f"{title} ({script} {' '.join(words)})", flush=True)
        path = Path(__file__).with_name(script)
        subprocess.run([sys.executable, path, *words], check=True)


if __name__ == "__main__":
    main()
