"""A comparison that is killed leaves no process behind, whatever that process is doing."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recbole_diffusion.base.files import sole_writer

PARENT = """\
import sys
from pathlib import Path
from recbole_diffusion.studies.jobs.limits import Limits
from recbole_diffusion.studies.jobs.local import ThisMachine
from recbole_diffusion.studies.jobs.process import Job
sys.path.insert(0, sys.argv[1])
job = Job("job", "job", Path(sys.argv[2]), {"kind": "cell", "modules": []})
ThisMachine().run_jobs([job], Limits(1, 1e6), lambda job: None, lambda outcome: None)
"""
# In place of the first thing that a process of a job imports: it holds a lock, and takes long.
SLOW_IMPORT = """\
import fcntl, time
from pathlib import Path
here = Path(__file__).parent
lock = (here / "lock").open("w")
fcntl.flock(lock, fcntl.LOCK_EX)
(here / "importing").touch()
time.sleep(120)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the lock and the signal are of POSIX")
def test_process_that_still_imports_ends_with_its_parent(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(SLOW_IMPORT)
    command = [sys.executable, "-c", PARENT, str(tmp_path), str(tmp_path / "job")]
    with subprocess.Popen(command) as parent:
        while not (tmp_path / "importing").exists():
            assert parent.poll() is None
            time.sleep(0.01)
        parent.send_signal(signal.SIGKILL)
    # The lock is free once the process is gone, long before its import would end.
    with sole_writer(tmp_path / "lock", 30.0):
        pass
