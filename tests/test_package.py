"""What a source archive holds: the tests whole, the docs, and no data of anyone's."""

import ast
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WHOLE = ("benchmarks", "docs", "properties", "recbole_diffusion", "tests")


@pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="needs the repository")
def test_source_archive(tmp_path: Path) -> None:
    foreign = ROOT / "dataset_atomic" / "test_package_mine"
    foreign.mkdir()
    try:
        (foreign / "test_package_mine.inter").write_text("user_id:token\titem_id:token\n")
        subprocess.run(
            [sys.executable, "setup.py", "-q", "egg_info", f"--egg-base={tmp_path}"]
            + ["sdist", f"--dist-dir={tmp_path}"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
    finally:
        (foreign / "test_package_mine.inter").unlink()
        foreign.rmdir()
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        found = {Path(*Path(name).parts[1:]) for name in content.getnames()}
    for folder in WHOLE:
        files = {
            path.relative_to(ROOT)
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files <= found, sorted(files - found)[:3]
    assert {Path("README.md"), Path("CHANGELOG.md"), Path("requirements-dev.txt")} <= found
    assert Path("dataset_atomic/planted/planted.inter") in found
    assert not [path for path in found if "test_package_mine" in str(path)]


@pytest.mark.skipif(not (ROOT / "setup.py").is_file(), reason="needs the repository")
def test_first_steps_say_what_each_extra_is_for() -> None:
    tree = ast.parse((ROOT / "setup.py").read_text())
    (declared,) = (
        {ast.literal_eval(key) for key in node.value.keys if key}
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Dict)
        and ast.unparse(node.targets[0]) == "EXTRAS"
    )
    page = (ROOT / "docs" / "start" / "first_steps.md").read_text()
    rows = re.findall(r"^\| (`.*?) \| .+ \|$", page.partition("| Extra |")[2], re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert sorted(told) == sorted({*declared, "all"})
