"""What the process of a job runs first: its text, so that nothing heavy is imported before."""

import os
import runpy
import threading


def end_with_parent() -> None:
    """End at once when the process that started this one is gone, so that no orphan writes on."""
    os.read(0, 1)  # nothing is ever written: this waits for the end
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    runpy.run_module(
        "recbole_diffusion.studies.compare.worker", run_name="__main__", alter_sys=True
    )
