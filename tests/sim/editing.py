"""Changes the source of a function while it runs: how a bug is planted in the middle of one.

The code object is replaced, not the function, so that tables and closures that hold the function have the bug as well.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any


def find(where: str) -> FunctionType:
    """`where` is `package.module:Class.method`; of a property the getter, of a decorated function what is within."""
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if isinstance(found, property):
        found = found.fget
    function = inspect.unwrap(getattr(found, "__func__", found))
    assert isinstance(function, FunctionType)
    return function


def edited(function: FunctionType, old: str, new: str) -> CodeType:
    """The function's code with `old`, which it has once, replaced."""
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(old) != 1:
        raise ValueError(f"{function.__qualname__} has {source.count(old)} times: {old}")
    source = source[source.index("async def " if source.startswith("async def ") else "def ") :].replace(old, new)
    namespace = dict(function.__globals__)
    flags = __future__.annotations.compiler_flag
    exec(compile(source, f"<{function.__qualname__}, changed>", "exec", flags, dont_inherit=True), namespace)
    code: CodeType = namespace[function.__name__].__code__
    return code


@contextmanager
def replaced(function: Callable[..., Any], code: CodeType) -> Iterator[None]:
    usual = function.__code__
    function.__code__ = code  # type: ignore[attr-defined]
    try:
        yield
    finally:
        function.__code__ = usual  # type: ignore[attr-defined]
