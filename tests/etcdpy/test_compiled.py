"""Compiled modules run if they are of these very sources, and never beside the plain ones."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdpy import compiled
from etcdpy.compiled import SUFFIX, CompiledModules, build, fingerprint, is_compiled, is_fresh, prefer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """One whose only compiled module is no code at all, but found."""
    for name in ("setup.py", "raft/log_of_old.py", "cluster/wal/some.py", "etcdpy/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# {name}")
    module = tmp_path / "build" / "compiled" / "raft" / f"log_of_old{SUFFIX}"
    module.parent.mkdir(parents=True)
    module.write_bytes(b"")
    (tmp_path / "build" / "compiled" / "made-of").write_text(fingerprint(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def finders() -> Iterator[list[object]]:
    before = sys.meta_path[:]
    yield before
    sys.meta_path[:] = before


def test_what_is_compiled_is_found_before_the_source(checkout: Path) -> None:
    assert prefer(checkout)
    finder = sys.meta_path[0]
    assert isinstance(finder, CompiledModules)
    spec = finder.find_spec("raft.log_of_old", None)
    assert spec is not None
    assert spec.origin == str(checkout / "build" / "compiled" / "raft" / f"log_of_old{SUFFIX}")
    assert finder.find_spec("cluster.wal.some", None) is None


@pytest.mark.parametrize("changed", ["raft/log_of_old.py", "cluster/wal/some.py", "etcdpy/__init__.py", "setup.py"])
def test_any_change_of_a_source_makes_all_plain(changed: str, checkout: Path, finders: list[object]) -> None:
    (checkout / changed).write_text(f"# {changed}.")
    assert not prefer(checkout)
    assert sys.meta_path == finders
    (checkout / changed).write_text(f"# {changed}")
    assert prefer(checkout)


def test_a_new_and_a_removed_source_make_all_plain(checkout: Path) -> None:
    (checkout / "cluster" / "new.py").touch()
    assert not is_fresh(checkout)
    (checkout / "cluster" / "new.py").unlink()
    assert is_fresh(checkout)
    (checkout / "cluster" / "wal" / "some.py").rename(checkout / "cluster" / "wal" / "other.py")
    assert not is_fresh(checkout)


def test_another_python_runs_the_sources(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "SUFFIX", ".cpython-399-other.so")
    assert not prefer(checkout)


def test_without_a_build_the_sources_run(tmp_path: Path, finders: list[object]) -> None:
    assert not prefer(tmp_path)
    assert sys.meta_path == finders


def test_nothing_is_preferred_once_a_source_of_it_is_imported(
    checkout: Path, finders: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "raft.log_of_old", compiled)
    assert not prefer(checkout)
    assert sys.meta_path == finders


def test_a_failed_build_says_why_and_leaves_nothing_to_prefer(checkout: Path) -> None:
    (checkout / "setup.py").write_text("raise SystemExit('no compiler')")
    assert build(checkout) == "no compiler"
    assert not prefer(checkout)
    assert not (checkout / "build" / "compiled").exists()


def test_a_build_is_of_the_sources_as_they_were_when_it_began(checkout: Path) -> None:
    edits_meanwhile = "import pathlib; pathlib.Path('build/compiled').mkdir(); pathlib.Path('raft/new.py').touch()"
    (checkout / "setup.py").write_text(edits_meanwhile)
    assert build(checkout) is None
    assert not is_fresh(checkout)


def test_without_a_compiler_there_is_one_line_and_no_error(tmp_path: Path) -> None:
    environment = {**os.environ, "CC": "no-such-compiler"}
    command = [sys.executable, str(ROOT / "setup.py"), "--quiet", "build_ext", "--build-lib", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "a C compiler (no-such-compiler) is missing\n")


IDENTITY = """
import sys
from etcdpy import __main__, command_line, compiled
import etcdpy.server
ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] in compiled.PACKAGES}
files = [module.__file__ for name, module in ours.items() if module.__file__]
assert len(files) == len(set(files))
print(compiled.is_compiled(sys.modules["raft.rawnode"]))
"""


def test_a_module_is_one_module() -> None:
    """However the process began, and whichever of the two this checkout has now."""
    begun = "from etcdpy import compiled; expected = compiled.prefer();"
    for first in ("", begun):
        done = subprocess.run([sys.executable, "-c", first + IDENTITY], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{bool(first) and is_fresh()}\n"


def hot_sources() -> list[Path]:
    """What setup.py compiles, read from its text: running it would build."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    assignments = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    listed = ast.literal_eval(assignments["HOT"])
    return [
        file for folder, names in listed.items() for name in names.split() for file in ROOT.glob(f"{folder}/{name}.py")
    ]


SOURCES = pytest.mark.parametrize("source", hot_sources(), ids=lambda file: str(file.relative_to(ROOT)))


@SOURCES
def test_no_compiled_coroutine_awaits_while_it_handles_an_exception(source: Path) -> None:
    """Native coroutines lose the exception that is being handled when they are suspended: it is swallowed, or the
    process crashes. `async with` is such a handler."""
    for node in ast.walk(ast.parse(source.read_text())):
        assert not isinstance(node, ast.AsyncWith), f"line {node.lineno}"
        handling = node.body if isinstance(node, ast.ExceptHandler) else []
        handling = node.finalbody if isinstance(node, ast.Try) else handling
        for inner in (inner for statement in handling for inner in ast.walk(statement)):
            assert not isinstance(inner, ast.Await | ast.AsyncFor | ast.Yield | ast.YieldFrom), f"line {inner.lineno}"


@SOURCES
def test_a_name_holds_exceptions_of_one_type_in_a_compiled_function(source: Path) -> None:
    """Its second `except ... as` is given the first one's type."""
    for function in ast.walk(ast.parse(source.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            handlers = [node for node in ast.walk(function) if isinstance(node, ast.ExceptHandler) and node.type]
            types = {(node.name, ast.unparse(node.type)) for node in handlers if node.name and node.type}
            assert len(types) == len({name for name, _ in types}), function.name


def test_no_plain_class_derives_from_a_compiled_one() -> None:
    """It could not be made an object of: TypeError."""
    sources = {file for package in compiled.PACKAGES for file in (ROOT / package).rglob("*.py")}
    native = {node.name for file in hot_sources() for node in classes(file)}
    assert len(native) > 50
    plain = [node for file in sources - set(hot_sources()) for node in classes(file)]
    bases = {node.name: {ast.unparse(base).split(".")[-1] for base in node.bases} for node in plain}
    assert {name: native & of for name, of in bases.items() if native & of} == {}


def classes(source: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ClassDef)]


def test_a_compiled_module_is_told_by_its_file() -> None:
    import _ctypes

    assert is_compiled(_ctypes)
    assert not is_compiled(compiled)
