"""Who is next: work waits in lines, and lines take turns, so that a long one delays only those who stand in it."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

Work = TypeVar("Work")


class Turns(Generic[Work]):
    """Lines of lines: of addresses, say, and in each of them of users."""

    def __init__(self) -> None:
        self.waiting = 0
        self._own: deque[Work] = deque()
        self._lines: OrderedDict[str, Turns[Work]] = OrderedDict()

    def add(self, path: tuple[str, ...], work: Work) -> None:
        """`path` names a line in each line, from the outside in."""
        self.waiting += 1
        if path:
            self._lines.setdefault(path[0], Turns()).add(path[1:], work)
        else:
            self._own.append(work)

    def take(self) -> Work:
        """The next work; the line that it comes from goes to the end of the lines. Raises KeyError if none waits."""
        if self._own:
            self.waiting -= 1
            return self._own.popleft()
        name, line = self._lines.popitem(last=False)
        work = line.take()
        self.waiting -= 1
        if line.waiting:
            self._lines[name] = line
        return work

    def waiting_in(self, name: str) -> int:
        line = self._lines.get(name)
        return line.waiting if line is not None else 0
