"""Files that are whole, ours and undamaged, and the locks between processes."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock._native._unix as native_lock
import pytest
import recbole.data.dataset.dataset as host_dataset

from recbole_diffusion.base import files
from recbole_diffusion.base.errors import DamagedFile, UserError, exit_code, naming, system_limit
from recbole_diffusion.base.files import (
    append_line,
    drop_cut_line,
    read_json,
    remove_scratch,
    remove_unfinished,
    scratch_folder,
    sole_writer,
    unfinished_path,
    write_json,
    written_whole,
)
from recbole_diffusion.data import split
from recbole_diffusion.data.dataset import AtomicDataset
from recbole_diffusion.data.split import load_split
from recbole_diffusion.settings.config import Config

DEAD = 2**22 + 1  # above the largest number of a process


def test_only_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    dead = tmp_path / f".recbole-diffusion-last.pth-{DEAD}.tmp"
    kept = [
        tmp_path / ".notes.tmp",
        tmp_path / ".last.pth.1.tmp",
        tmp_path / f"recbole-diffusion-last.pth-{DEAD}.tmp",
        tmp_path / ".recbole-diffusion-mine.tmp",
        tmp_path / f".recbole-diffusion-last.pth-{os.getppid()}.tmp",
        tmp_path / "below" / dead.name,
    ]
    (tmp_path / "below").mkdir()
    for path in (dead, *kept):
        path.write_text("x")
    (tmp_path / f".recbole-diffusion-folder-{DEAD}.tmp").mkdir()
    link = tmp_path / f".recbole-diffusion-link-{DEAD}.tmp"
    link.symlink_to(kept[0])
    remove_unfinished(tmp_path)
    assert not dead.exists()
    assert all(path.exists() for path in (*kept, link))


def test_a_killed_write_leaves_a_name_that_is_known_again(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from recbole_diffusion.base.files import written_whole\n"
        "with written_whole(Path(sys.argv[1]) / 'last.pth') as stream:\n"
        "    stream.write(b'half'); os.kill(os.getpid(), 9)"
    )
    end = subprocess.run([sys.executable, "-c", program, str(tmp_path)])
    assert end.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_zombie_writes_no_more(tmp_path: Path) -> None:
    """Its parent, this process, has not asked how it ended."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        left = tmp_path / f".recbole-diffusion-x-{child}.tmp"
        left.touch()
        remove_unfinished(tmp_path)
        assert not left.exists()
    finally:
        os.waitpid(child, 0)


def test_the_mark_of_a_scratch_folder_goes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal that is killed midway leaves a folder that is still known for one."""
    folder = tmp_path / "1"

    def killed(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    def use() -> None:
        with scratch_folder(folder):
            (folder / "file").touch()
            (folder / "below").mkdir()
            monkeypatch.setattr(files.shutil, "rmtree", killed)

    with pytest.raises(KeyboardInterrupt):
        use()
    monkeypatch.undo()
    remove_scratch(tmp_path.iterdir())
    assert not folder.exists()


def test_what_cannot_be_replaced_is_named(tmp_path: Path) -> None:
    target = tmp_path / "best.yaml"
    target.mkdir()
    with pytest.raises(OSError, match=rf"'{target}'") as error, written_whole(target) as stream:
        stream.write(b"x")
    assert system_limit(error.value) == f"{target}: Is a directory"


def test_a_scratch_folder_takes_no_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "mine").write_text("x")
    with pytest.raises(UserError, match="found files there"), scratch_folder(tmp_path / "1"):
        raise AssertionError
    with scratch_folder(tmp_path / "2"):
        (tmp_path / "2" / "theirs").write_text("x")
    remove_scratch(tmp_path.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_an_append_heals_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\n" + b"x" * 200_000)
    append_line(path, "two")
    assert path.read_bytes() == b"one\ntwo\n"
    path.write_bytes(b"cut")
    assert drop_cut_line(path) == 3
    assert path.read_bytes() == b""
    assert drop_cut_line(path) == 0
    assert drop_cut_line(tmp_path / "none") == 0


def test_a_line_that_a_full_disk_cuts_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_line(path, "one")
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from recbole_diffusion.base.files import append_line\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n"
        "append_line(Path(sys.argv[1]), 'x' * 100)"
    )
    end = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert f"File too large: '{path}'" in end.stderr
    assert path.read_bytes() == b"one\n"


@pytest.mark.parametrize("value", [{"a": 1.5, "b": [None, "ü"]}, {"x": float("nan")}, {}])
def test_json_comes_back(tmp_path: Path, value: dict[str, Any]) -> None:
    write_json(tmp_path / "a.json", value)
    assert repr(read_json(tmp_path / "a.json")) == repr(value)


def test_every_changed_byte_of_a_value_is_seen(tmp_path: Path) -> None:
    path, content = tmp_path / "a.json", {"valid": {"recall@20": 0.1234}, "model": "EASE"}
    write_json(path, content)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for change in (1, 4, 64):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :])
            try:
                found = read_json(path)
            except DamagedFile as error:
                assert str(path) in str(error)  # noqa: PT017
                assert "\n" not in str(error)  # noqa: PT017
            else:
                # Space between words, or the digest's own name.
                assert {k: found[k] for k in content} == content


@pytest.mark.parametrize("content", ["", "[1]", "nul", "{" * 100_000, '{"digest": 1}', "\0"])
def test_what_is_no_json_of_ours(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DamagedFile, match=r"a\.json: found"):
        read_json(tmp_path / "a.json")


def test_a_file_without_a_digest_is_taken_and_its_keys_checked(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    assert read_json(tmp_path / "a.json", "a") == {"a": 1}
    with pytest.raises(DamagedFile, match="found no `b`"):
        read_json(tmp_path / "a.json", "a", "b")


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with sole_writer(tmp_path / "lock"):
        with pytest.raises(UserError, match="another process"), sole_writer(tmp_path / "lock"):
            raise AssertionError
    with sole_writer(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    def refuse(file: int) -> bool:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(native_lock, "lock_fd_nonblocking", refuse)
    monkeypatch.setattr(files, "_SYSTEMS_TOLD_OF", set())
    with caplog.at_level(logging.WARNING):
        test_one_process_at_a_time(tmp_path)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: its file system has no locks; a file {files.LOCK}.soft marks that a process "
        "is at work there, and stays if the machine goes down: remove it then"
    ]


def test_the_mark_of_a_killed_process_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import errno, os, sys; from pathlib import Path\n"
        "import filelock._native._unix as native_lock\n"
        "from recbole_diffusion.base.files import sole_writer\n"
        "def refuse(file): raise OSError(errno.ENOSYS, 'none')\n"
        "native_lock.lock_fd_nonblocking = refuse\n"
        "with sole_writer(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "lock")])
    assert (tmp_path / "lock.soft").is_file()

    def refuse(file: int) -> bool:
        raise OSError(errno.ENOSYS, "none")

    monkeypatch.setattr(native_lock, "lock_fd_nonblocking", refuse)
    with sole_writer(tmp_path / "lock", 5.0):
        pass


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "/a/b: No space left on device; go on"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied; go on"),
        (MemoryError("Unable to allocate 3 GiB"), "out of memory: Unable to allocate 3 GiB; go on"),
        (UserError("key `dataset`: a\n\x1b[1mb\u2028"), r"key `dataset`: a\n\x1b[1mb\u2028; go on"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory: Default"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    capsys: pytest.CaptureFixture[str], raised: Exception, told: str
) -> None:
    def command() -> None:
        with naming("/a/b"):
            raised.add_note("go on")
            raise raised

    assert exit_code(command) == 2
    found = capsys.readouterr().err
    assert found.startswith(f"error: {told}")
    assert found.count("\n") == 1


def test_a_refusal_within_another_is_escaped_once() -> None:
    inner = UserError("found é 'a\\n' and\ta")
    assert str(UserError(f"{inner}")) == str(inner) == r"found é 'a\n' and\ta"


@pytest.mark.parametrize(
    "raised", [KeyError("ours"), FileNotFoundError(2, "No such file"), OSError]
)
def test_our_own_faults_keep_their_traceback(raised: Any) -> None:
    def command() -> None:
        raise raised

    with pytest.raises((KeyError, OSError)):
        exit_code(command)


@pytest.mark.parametrize("kind", [KeyError, TypeError, IndexError, AttributeError])
@pytest.mark.parametrize("place", ["data.split._check_repeats", "data.dataset.AtomicDataset.build"])
def test_a_fault_of_ours_while_data_are_read_is_no_bad_input(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch, kind: type[Exception], place: str
) -> None:
    def fail(*args: Any) -> None:
        raise kind("ours")

    module, _, name = place.rpartition(".")
    owner = split if module == "data.split" else AtomicDataset
    # As a function of the package's own, which is called by RecBole or by us.
    fail.__code__ = fail.__code__.replace(co_filename=files.__file__)
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(kind, match="ours"):
        load_split(Config("Pop", "planted", (), planted))


def test_a_complaint_of_the_host_is_one_line(
    planted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_dataset.Dataset, "_build_feat_name_list", lambda self: {}["theirs"])
    with pytest.raises(KeyError):  # this module's: neither RecBole's nor a user's data
        host_dataset.Dataset._build_feat_name_list(None)
    with pytest.raises(UserError, match="data set planted in .*: 'theirs'"):
        load_split(Config("Pop", "planted", (), planted))


def test_what_an_interrupt_makes_fail_is_an_interrupt() -> None:
    def command() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise UnboundLocalError("as Optuna does")

    assert exit_code(command) == 130


def test_a_write_names_its_file(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "a.json"
    with pytest.raises(FileNotFoundError), written_whole(missing):
        raise AssertionError
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from recbole_diffusion.training.checkpoint import save_checkpoint\n"
        "from recbole_diffusion.base.errors import exit_code\n"
        "import torch\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "save = lambda: save_checkpoint(sys.argv[1], {'a': torch.ones(10000)})\n"
        "sys.exit(exit_code(save))"
    )
    target = str(tmp_path / "last.pth")
    end = subprocess.run([sys.executable, "-c", program, target], capture_output=True, text=True)
    assert end.returncode == 2
    assert end.stderr == f"error: {target}: File too large\n"
    assert list(tmp_path.iterdir()) == []
    assert unfinished_path(Path(target)).name == f".recbole-diffusion-last.pth-{os.getpid()}.tmp"
