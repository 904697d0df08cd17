"""Draws random request sequences, in the language of the scenario files, from a seed and nothing else.

Everything is drawn from small pools, so that requests meet: keys are files, directories and missing in turn, conditions
are often true, watches are often hit. Invariant: nothing depends on timing. Random ttls are long; short ones come in
phases of their own that end when all have expired. No value is a bare number, so a number in a cause is an index.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from random import Random

from .scenario import Step

DIRECTORIES = ["a", "b", "q", "ab"]
FILES = ["x", "y", "z"]
ODD_NAMES = ["a.b", "a%20b", "a+b", "%3cx%3e", "%c3%a9", "\xe9", "%ff", "\\xfe", "%2500", "x;y", "a%2fx"]
HIDDEN = ["_h", "_dir"]
VALUES = [
    "x",
    "y",
    "",
    "one+two",
    "%c3%a9",
    "\xe9\u20ac",
    "%ff%fe",
    "%3c%26%3e",
    "%22%5c",
    "%00%1f%7f",
    "%e2%80%a8",
    "{x*3000}",
]
BOOLEANS = ["true", "false", "1", "0", "t", "F", "True", "FALSE"]
BAD_BOOLEANS = ["", "yes", "tRUE", "2", "%20true", "null"]
INDEXES = ["0", "1", "{index}", "{index-1}", "{index+1}", "{index-3}", "{+1}", "18446744073709551615", "007"]
BAD_NUMBERS = ["", "-1", "%2b1", "1.5", "1e3", "0x1", "abc", "%201", "18446744073709551616", "1_0"]
TTLS = ["", "1000", "5000", "86400", "0009000"]
BAD_TTLS = BAD_NUMBERS[1:]
BAD_PAIRS = [
    "b=%zz",
    "b=%",
    "b=%f",
    "a;b",
    "=",
    "&",
    "VALUE=x",
    "unknown=1",
    "%76alue=x",
    "value",
    "recursive",
    "=x",
    "b=%\xe9",
]
SHORT_LIVED = ["value=x", "dir=true", "refresh=true", "value=y&prevExist=true", "dir=true&prevExist=true"]
SHORT_LIVED_PATHS = ["/k", "/k2", "/l", "/m/n", "/m/o/p", "/dir/n", "/_h"]
CONTENT_TYPES = [
    "application/x-www-form-urlencoded; charset=utf-8",
    "APPLICATION/X-WWW-FORM-URLENCODED",
    "application/x-www-form-urlencoded; charset",
    "application/x-www-form-urlencoded;",
    "application/json",
    "text/plain",
    "multipart/form-data; boundary=b",
    "",
    "/",
    "a b",
    "a; b=c; b=d",
]
UNCLEAN = [
    "/{}//{}",
    "/./{}/{}",
    "/{}/../{}",
    "/{}/%2e%2e/{}",
    "/{}%2f%2f{}",
    "/{}/{}/.",
    "/{}/{}//",
    "//{}/{}",
    "/../{}/{}",
    "/{}/{}/..",
]
ELSEWHERE = [
    "GET /v2/keysfoo",
    "GET /v2",
    "GET /",
    "GET /v2/machines",
    "HEAD /v2/machines",
    "POST /v2/machines x=y",
    "GET /v2/machines/",
    "GET /version",
    "GET /health",
    "HEAD /health",
    "GET /v2/stats/self",
    "GET /v2/stats/leader",
    "GET /v2/members",
    "GET /v2/members/leader",
    "GET /v2/members/zz",
    "DELETE /v2/members/zz",
    "DELETE /v2/members",
    "json PUT /v2/members/1 {}",
    "json POST /v2/members {}",
    "json POST /v2/members {",
    "POST /v2/members {}",
    "PUT /config/local/log {}",
    "OPTIONS /nothing",
]
FORM = "Content-Type: application/x-www-form-urlencoded\\r\\n"
RAW = [
    "GET {} HTTP/1.0\\r\\n\\r\\n",
    "GET {} HTTP/1.1\\r\\n\\r\\n",
    "GET {} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n",
    "GET {} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /v2/keys/a HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
    "PUT {} HTTP/1.1\\r\\nHost: x\\r\\n{form}Transfer-Encoding: chunked\\r\\n\\r\\n7\\r\\nvalue=r\\r\\n0\\r\\n\\r\\n",
    "PUT {} HTTP/1.1\\r\\nHost: x\\r\\n{form}Expect: 100-continue\\r\\nContent-Length: 7\\r\\n\\r\\nvalue=r",
    "PUT {} HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 2\\r\\nContent-Length: 3\\r\\n\\r\\nabc",
    "GET {} HTTP/1.1\\r\\nHost: x\\r\\nHost: y\\r\\n\\r\\n",
    "GET {}%zz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n",
]


class Generator:
    """One random sequence; with `quirks` it goes where etcd's own bugs are, else it keeps away from them."""

    def __init__(self, seed: int, *, quirks: bool) -> None:
        self._random = Random(seed)
        self._quirks = quirks
        self._directories = DIRECTORIES if quirks else DIRECTORIES[:3]
        self._odd_names = ODD_NAMES + HIDDEN if quirks else [name for name in ODD_NAMES if name[0] not in "ax"]
        self._short_lived_paths = SHORT_LIVED_PATHS if quirks else SHORT_LIVED_PATHS[:-1]
        self._watches: list[str] = []
        self._watch_names = (f"w{number}" for number in itertools.count(1))
        self._kinds: list[tuple[int, Callable[[], Iterator[Step]]]] = [
            (300, self._put),
            (80, self._post),
            (120, self._delete),
            (220, self._read),
            (60, self._watch),
            (60, self._collect),
            (60, self._watched_writes),
            (60, self._true_condition),
            (30, self._unclean),
            (20, self._odd_method),
            (20, self._elsewhere),
            (10, self._raw),
            (2, self._short_lives),
        ]

    def steps(self, requests: int) -> Iterator[Step]:
        """Yield about this many steps; at the end every watch is read to the end."""
        yield from (Step(f"DELETE /v2/keys/{name}?recursive=true") for name in ("%ff", "%fe", *HIDDEN))
        weights, kinds = zip(*self._kinds, strict=True)
        count = 0
        while count < requests:
            for step in self._random.choices(kinds, weights)[0]():
                count += 1
                yield step
        yield from (Step(f"collect {name}") for name in self._watches)

    def _put(self) -> Iterator[Step]:
        pairs = self._some(
            (0.75, "value", VALUES, VALUES),
            (0.08, "dir", BOOLEANS, BAD_BOOLEANS),
            (0.2, "ttl", TTLS, BAD_TTLS),
            (0.14, "prevExist", BOOLEANS, BAD_BOOLEANS),
            (0.06, "refresh", BOOLEANS, BAD_BOOLEANS),
            (0.08, "noValueOnSuccess", BOOLEANS, BAD_BOOLEANS),
            (0.02, "wait", BOOLEANS, BAD_BOOLEANS),
        )
        yield self._write("PUT", *self._conditioned(pairs))

    def _post(self) -> Iterator[Step]:
        pairs = self._some(
            (0.8, "value", VALUES, VALUES),
            (0.1, "dir", BOOLEANS, BAD_BOOLEANS),
            (0.2, "ttl", TTLS, BAD_TTLS),
            (0.05, "prevExist", BOOLEANS, BAD_BOOLEANS),
            (0.05, "refresh", BOOLEANS, BAD_BOOLEANS),
        )
        directory = f"/{self._random.choice(self._directories)}"
        yield self._write("POST", directory if self._chance(0.8) else self._path(), pairs)

    def _delete(self) -> Iterator[Step]:
        path, pairs = self._conditioned(
            self._some((0.3, "recursive", BOOLEANS, BAD_BOOLEANS), (0.2, "dir", BOOLEANS, BAD_BOOLEANS))
        )
        body = self._random.choice(["", "", "", " prevValue=wrong", " %zz"])
        yield Step(f"DELETE {self._target(path, pairs)}{body}")

    def _read(self) -> Iterator[Step]:
        pairs = self._some(
            (0.4, "recursive", BOOLEANS, BAD_BOOLEANS),
            (0.4, "sorted", BOOLEANS, BAD_BOOLEANS),
            (0.2, "quorum", BOOLEANS, BAD_BOOLEANS),
            (0.03, "ttl", TTLS, BAD_TTLS),
            (0.03, "prevValue", VALUES, VALUES),
            (0.03, "waitIndex", INDEXES, BAD_NUMBERS),
        )
        method = self._random.choice(["GET", "GET", "GET", "HEAD"])
        yield Step(f"{method} {self._target(self._path(), pairs)}")

    def _watch(self) -> Iterator[Step]:
        stream = [(0.35, "stream", ["true", "false"], BAD_BOOLEANS)] if self._quirks else []
        pairs = self._some(
            (0.5, "recursive", BOOLEANS, BAD_BOOLEANS),
            (0.5, "waitIndex", [*INDEXES, "{index-40}", "{index-400}", "{index-998}", "{-1000}"], BAD_NUMBERS),
            (0.03, "quorum", BOOLEANS, BAD_BOOLEANS),
            *stream,
        )
        if len(self._watches) >= 8:
            yield from self._collect()
        name = next(self._watch_names)
        self._watches.append(name)
        yield Step(f"watch {name} {self._target(self._path(), [*pairs, 'wait=true'])}")

    def _watched_writes(self) -> Iterator[Step]:
        """A watch, and writes that it ought to see."""
        path = "/" + self._random.choice(self._directories)
        name = next(self._watch_names)
        options = self._random.choice(["", "&recursive=true", "&recursive=true" + "&stream=true" * self._quirks])
        yield Step(f"watch {name} /v2/keys{path}{self._random.choice(['', '/x'])}?wait=true{options}")
        for _ in range(self._random.randint(1, 4)):
            target = f"/v2/keys{path}{self._random.choice(['', '/x', '/x', '/y', '/x/y', '/b/x'])}"
            form = self._random.choice(
                ["value=x", "value=y&ttl=1000", "refresh=true&ttl=1000", "value=x&prevExist=true"]
            )
            question = self._random.choice([f"PUT {target} {form}"] * 3 + [f"POST {target} {form}", f"DELETE {target}"])
            yield Step(question)
        yield Step(f"collect {name}")
        if self._chance(0.5):
            yield Step(f"DELETE /v2/keys{path}?recursive=true")
            yield Step(f"collect {name}")
        yield Step(f"close {name}")

    def _true_condition(self) -> Iterator[Step]:
        """A key is written or read, and then changed on condition that it is as it was."""
        path = self._path()
        yield Step(self._random.choice([f"PUT /v2/keys{path} value=x", f"GET /v2/keys{path}"]))
        condition = self._random.choice(
            [
                f"prevValue={{value {path}}}",
                f"prevIndex={{modified {path}}}",
                f"prevValue=x&prevIndex={{modified {path}}}",
            ]
        )
        form = self._random.choice(["value=y", "value=x&ttl=1000", "refresh=true&ttl=5000", "prevExist=true", ""])
        yield Step(
            self._random.choice([f"PUT /v2/keys{path}?{condition} {form}", f"DELETE /v2/keys{path}?{condition}"])
        )

    def _collect(self) -> Iterator[Step]:
        if self._watches:
            name = self._random.choice(self._watches)
            yield Step(f"collect {name}")
            if self._chance(0.4) or len(self._watches) >= 8:
                self._watches.remove(name)
                yield Step(f"close {name}")

    def _unclean(self) -> Iterator[Step]:
        path = self._random.choice(UNCLEAN).format(self._segment(FILES), self._segment(FILES))
        method = self._random.choice(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"])
        query = self._random.choice(["", "", "?value=x", "?recursive=true&x=%20", "?%zz", "?a;b"])
        yield Step(f"{method} /v2/keys{path}{query}")

    def _odd_method(self) -> Iterator[Step]:
        method = self._random.choice(["PATCH", "OPTIONS", "TRACE", "FOO", "get"])
        yield Step(f"{method} {self._target(self._path(), [])}")

    def _elsewhere(self) -> Iterator[Step]:
        yield Step(self._random.choice(ELSEWHERE))

    def _raw(self) -> Iterator[Step]:
        path = f"/v2/keys{self._path()}"
        yield Step("raw " + self._random.choice(RAW).replace("{}", path).replace("{form}", FORM))

    def _short_lives(self) -> Iterator[Step]:
        """Keys and directories that expire, one after the other, while watches look on; then wait for the last."""
        name = next(self._watch_names)
        yield Step(f"watch {name} /v2/keys/t?wait=true&recursive=true&stream=true")
        yield Step("PUT /v2/keys/t/dir dir=true&ttl=1")
        for leaf in self._random.choices(self._short_lived_paths, k=self._random.randint(3, 8)):
            yield Step(f"PUT /v2/keys/t{leaf} {self._random.choice(SHORT_LIVED)}&ttl=1")
        yield Step(f"PUT /v2/keys/t/last value=x&ttl={self._random.choice('01')}")
        yield from (Step(f"expire /v2/keys/t{leaf}") for leaf in [*self._short_lived_paths, "/dir", "/last"])
        yield Step("GET /v2/keys/t?recursive=true&sorted=true")
        yield Step(f"collect {name}")
        yield Step(f"close {name}")
        yield Step("DELETE /v2/keys/t?recursive=true")

    def _conditioned(self, pairs: list[str]) -> tuple[str, list[str]]:
        """Choose a path and often a condition on it, true as often as not."""
        path = self._path()
        if self._chance(0.15):
            pairs.append("prevValue=" + self._random.choice([f"{{value {path}}}"] * 12 + VALUES))
        if self._chance(0.15):
            pairs.append("prevIndex=" + self._random.choice([f"{{modified {path}}}"] * 20 + INDEXES + BAD_NUMBERS))
        return path, pairs

    def _write(self, method: str, path: str, pairs: list[str]) -> Step:
        """Put each pair into the form or into the query, sometimes with a twin, and sometimes spoil it."""
        self._random.shuffle(pairs)
        form = [pair for pair in pairs if self._chance(0.75)]
        query = [pair for pair in pairs if pair not in form]
        for part in (form, query):
            if part and self._chance(0.04):
                part.append(part[0].partition("=")[0] + "=" + self._random.choice(["x", "true", "7"]))
            if self._chance(0.02):
                part.insert(self._random.randint(0, len(part)), self._random.choice(BAD_PAIRS))
        headers = [f"Content-Type: {self._random.choice(CONTENT_TYPES)}"] if self._chance(0.04) else []
        return Step(f"{method} {self._target(path, query)}" + (f" {'&'.join(form)}" if form else ""), headers)

    def _some(self, *choices: tuple[float, str, list[str], list[str]]) -> list[str]:
        """Draw parameters: (how often, name, valid values, invalid values)."""
        return [
            f"{name}={self._random.choice(bad if self._chance(0.03) else good)}"
            for often, name, good, bad in choices
            if self._chance(often)
        ]

    def _target(self, path: str, query: list[str]) -> str:
        if self._chance(0.01):
            query = [*query, self._random.choice(BAD_PAIRS)]
        return f"/v2/keys{path}" + (f"?{'&'.join(query)}" if query else "")

    def _path(self) -> str:
        if self._chance(0.03):
            return self._random.choice(["/", "", "/?"]).rstrip("?")
        shape = self._random.choice(["f", "f", "f", "df", "df", "df", "df", "ddf", "ddf", "d", "dd", "ff"])
        path = "".join(f"/{self._segment(self._directories if kind == 'd' else FILES)}" for kind in shape)
        return path + ("/" if self._chance(0.05) else "")

    def _segment(self, pool: list[str]) -> str:
        if self._chance(0.02):
            return f"{{seq+{self._random.randint(1, 60)}}}"
        return self._random.choice(self._odd_names if self._chance(0.06) else pool)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability
