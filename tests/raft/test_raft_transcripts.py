"""Golden transcripts: Raft happening, readable by a person.

Each file in testdata/ is a story: a paragraph starts with a command, the lines below it are what came of it. Commands
are the methods of `Story`. After a wanted change: `RAFT_REWRITE=1 pytest tests/raft/test_raft_transcripts.py`, and read
the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from network import Network

from raft.describe import describe_message, describe_ready, describe_status
from raft.errors import ProposalDropped, RaftError
from raft.messages import ConfChange, ConfChangeType, MessageType

TESTDATA = Path(__file__).parent / "testdata"


class Story:
    """Each method is a command and returns the lines to show."""

    def __init__(self) -> None:
        self.net = Network(3)

    def cluster(self, voters: str) -> list[str]:
        self.net = Network(int(voters), outsiders=[int(voters) + 1])
        return []

    def campaign(self, member: str) -> list[str]:
        self.net[int(member)].campaign()
        return []

    def propose(self, member: str, data: str) -> list[str]:
        try:
            self.net[int(member)].propose(data.encode())
        except ProposalDropped as dropped:
            return [f"dropped: {dropped}"]
        return []

    def change(self, member: str, change: str, who: str) -> list[str]:
        try:
            self.net[int(member)].propose_conf_change(ConfChange(ConfChangeType[change], int(who)))
        except ProposalDropped as dropped:
            return [f"refused: {dropped}"]
        return []

    def transfer(self, member: str, to: str) -> list[str]:
        self.net[int(member)].transfer_leader(int(to))
        return []

    def tick(self, member: str, times: str = "1") -> list[str]:
        for _ in range(int(times)):
            self.net[int(member)].tick()
        return []

    def work(self, member: str) -> list[str]:
        """One Ready of one member, paid."""
        node = self.net.nodes[int(member)]
        if not node.raw.has_ready():
            return ["nothing to do"]
        sent = node.process_one()
        for message in sent:
            self.net.send(message)
        return describe_ready(node.readies[-1])

    def deliver(self, count: str = "1000") -> list[str]:
        lines = []
        for _ in range(min(int(count), len(self.net.wire))):
            message = self.net.wire.pop(0)
            lines.append(describe_message(message))
            try:
                self.net.deliver(message)
            except RaftError as error:
                lines.append(f"   refused: {error}")
        return lines or ["nothing on the wire"]

    def stabilize(self) -> list[str]:
        """Everybody works and everything is delivered until all is quiet."""
        lines = []
        while self.net.wire or any(node.raw.has_ready() for node in self.net.nodes.values()):
            for member, node in self.net.nodes.items():
                while member not in self.net.down and node.raw.has_ready():
                    lines += [f"{member} works", *(f"   {line}" for line in self.work(str(member)))]
            if self.net.wire:
                lines += ["delivered", *(f"   {line}" for line in self.deliver())]
        return lines

    def quietly(self) -> list[str]:
        self.stabilize()
        return []

    def isolate(self, member: str) -> list[str]:
        self.net.isolate(int(member))
        return []

    def lose(self, name: str) -> list[str]:
        self.net.lose(MessageType[name])
        return []

    def heal(self) -> list[str]:
        self.net.heal()
        return []

    def compact(self, member: str) -> list[str]:
        self.net.nodes[int(member)].compact()
        return []

    def status(self, member: str) -> list[str]:
        return describe_status(self.net[int(member)].status())


def retell(text: str) -> str:
    story = Story()
    told = []
    for paragraph in text.strip().split("\n\n"):
        lines = paragraph.splitlines()
        if lines[0].startswith("#"):
            told.append(paragraph)
            continue
        name, *arguments = lines[0].removeprefix("> ").split()
        told.append("\n".join([lines[0], *getattr(story, name)(*arguments)]))
    return "\n\n".join(told) + "\n"


@pytest.mark.parametrize("path", sorted(TESTDATA.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text()
    told = retell(text)
    if os.environ.get("RAFT_REWRITE"):
        path.write_text(told)
    assert told == path.read_text()


def test_there_are_transcripts() -> None:
    assert len(list(TESTDATA.glob("*.txt"))) >= 6
