"""New inputs from old ones: a few random changes to bytes that somebody once understood."""

from __future__ import annotations

import random
from collections.abc import Sequence

ODD = [
    *(b"\0", b"\xff", b"\r\n", b"\n", b"%", b"..", b"/", b'"', b"\\u", b"{", b"["),
    *(b"\x81", b"\xc1", b"\xdf\xff\xff\xff\xff"),
]
MAX_CHANGES = 6
MAX_BYTES = 1 << 16


def mutate(corpus: Sequence[bytes], dice: random.Random) -> bytes:
    data = bytearray(dice.choice(corpus))
    for _ in range(dice.randint(1, MAX_CHANGES)):
        at = dice.randint(0, len(data))
        match dice.randint(0, 6):
            case 0 if data:
                data[at % len(data)] ^= 1 << dice.randint(0, 7)
            case 1 if data:
                data[at % len(data)] = dice.randint(0, 255)
            case 2:
                del data[at : at + dice.randint(1, 8)]
            case 3:
                data[at:at] = dice.choice(ODD) * dice.choice((1, 1, 1, 50))
            case 4:
                data[at:at] = data[at : at + dice.randint(1, 32)]
            case 5:
                other = dice.choice(corpus)
                data[at:] = other[dice.randint(0, len(other)) :]
            case _:
                del data[at:]
    return bytes(data[:MAX_BYTES])
