"""Where the command `etcdpy` begins. First of all, because what is imported stays: do compiled modules run?"""

from __future__ import annotations

import sys

from etcdpy import compiled


def main() -> int:
    compiled.prefer()
    from etcdpy import command_line

    return command_line.main()


if __name__ == "__main__":
    sys.exit(main())
