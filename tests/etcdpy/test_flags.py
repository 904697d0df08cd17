"""The syntax of flags: Go's, with etcd's environment."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdpy.flag_values import at_most, boolean, initial_cluster, level, switch, text, whole
from etcdpy.flags import ConfigError, Flag, HelpRequested, read_flags

TABLE = (
    Flag("name", text, "default"),
    Flag("snapshot-count", whole(0), "100"),
    Flag("auto-tls", boolean, "false"),
    Flag("version", boolean, in_environment=False),
    Flag("enable-v2", boolean, ignored="it is always on"),
    Flag("grpc-*", text, ignored="there is no gRPC"),
    Flag("addr", text, gone="use --advertise-client-urls"),
)


def read(*arguments: str, **environment: str) -> dict[str, Any]:
    return read_flags(TABLE, arguments, environment).values


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("", {}),
        ("--name a", {"name": "a"}),
        ("-name a", {"name": "a"}),
        ("--name=a", {"name": "a"}),
        ("-name=a", {"name": "a"}),
        ("--name=a=b", {"name": "a=b"}),
        ("--name=", {"name": ""}),
        ("--name -auto-tls", {"name": "-auto-tls"}),
        ("--name --", {"name": "--"}),
        ("--name a --name b", {"name": "b"}),
        ("--auto-tls", {"auto-tls": True}),
        ("--auto-tls --name a", {"auto-tls": True, "name": "a"}),
        ("-auto-tls=F", {"auto-tls": False}),
        ("--auto-tls=1", {"auto-tls": True}),
        ("--snapshot-count 0x10", {"snapshot-count": 16}),
        ("--name a --", {"name": "a"}),
        ("--", {}),
        ("--grpc-keepalive-timeout 20s --name a", {"grpc-keepalive-timeout": "20s", "name": "a"}),
        ("--grpc-something --name a", {"grpc-something": "", "name": "a"}),
        ("--grpc-something", {"grpc-something": ""}),
    ],
)
def test_good_command_lines(arguments: str, values: dict[str, Any]) -> None:
    assert read(*arguments.split()) == values


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("a", '"a" is not a valid flag'),
        ("--name a b --auto-tls", '"b" is not a valid flag'),
        ("-", '"-" is not a valid flag'),
        ("-- b", '"b" is not a valid flag'),
        ("-- --name=a", '"--name=a" is not a valid flag'),
        ("--auto-tls false", '"false" is not a valid flag (a boolean takes its value as --flag=value)'),
        ("---name a", "bad flag syntax: ---name"),
        ("--=a", "bad flag syntax: --=a"),
        ("-=a", "bad flag syntax: -=a"),
        ("--nam a", "flag provided but not defined: -nam (did you mean --name?)"),
        ("--snapshot_count=1", "flag provided but not defined: -snapshot_count (did you mean --snapshot-count?)"),
        ("--zzzzzz", "flag provided but not defined: -zzzzzz"),
        ("--NAME a", "flag provided but not defined: -NAME"),
        ("--name", "flag needs an argument: -name"),
        ("--auto-tls=maybe", 'invalid value "maybe" for flag -auto-tls: parse error: not a boolean (true or false)'),
        ("--auto-tls=", 'invalid value "" for flag -auto-tls: parse error: not a boolean (true or false)'),
        ("--snapshot-count ten", 'invalid value "ten" for flag -snapshot-count: parse error: not a whole number'),
        ("-addr 10.0.0.1:4001", "flag -addr is not supported any more: use --advertise-client-urls"),
    ],
)
def test_bad_command_lines(arguments: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(*arguments.split())
    assert str(caught.value) == reason


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["-help"], ["--name", "a", "--help", "--zzz"]])
def test_help(arguments: list[str]) -> None:
    with pytest.raises(HelpRequested):
        read(*arguments)


def test_what_is_wrong_first_is_told_before_help() -> None:
    with pytest.raises(ConfigError, match="zzz"):
        read("--zzz", "--help")


def test_the_environment_gives_values_and_the_command_line_beats_it() -> None:
    given_flags = read_flags(TABLE, ["--name", "b"], {"ETCD_NAME": "a", "ETCD_AUTO_TLS": "true", "HOME": "/"})
    assert given_flags.values == {"name": "b", "auto-tls": True}
    assert given_flags.warnings == ["environment variable ETCD_NAME is ignored: --name is given"]


def test_an_empty_variable_is_none() -> None:
    assert read_flags(TABLE, [], {"ETCD_NAME": "", "ETCD_UNKNOWN": ""}) == ({}, [])


def test_a_variable_that_the_command_line_beats_need_not_be_good() -> None:
    assert read("--snapshot-count=1", ETCD_SNAPSHOT_COUNT="x") == {"snapshot-count": 1}


@pytest.mark.parametrize("variable", ["ETCD_PORT", "ETCD_name", "ETCD_ADDR", "ETCD_VERSION", "ETCD_", "ETCD_AUTO-TLS"])
def test_unknown_variables_are_warned_of(variable: str) -> None:
    given_flags = read_flags(TABLE, [], {variable: "tcp://secret"})
    assert given_flags == ({}, [f"unrecognized environment variable {variable}"])


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r'^invalid value "x" for ETCD_SNAPSHOT_COUNT: parse error'):
        read(ETCD_SNAPSHOT_COUNT="x")


def test_flags_without_effect_are_warned_of() -> None:
    given_flags = read_flags(TABLE, ["-enable-v2=false"], {"ETCD_GRPC_KEEPALIVE_MIN_TIME": "5s"})
    assert given_flags.warnings == [
        "--enable-v2 is ignored: it is always on",
        "--grpc-keepalive-min-time is ignored: there is no gRPC",
    ]


@given(st.text())
def test_a_value_survives_each_way_to_write_it(value: str) -> None:
    assert read("--name", value) == read(f"--name={value}") == read("-name", value) == {"name": value}


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("0", 0),
        ("7", 7),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("1_000", 1000),
        (str(2**64 - 1), 2**64 - 1),
    ],
)
def test_go_numbers(number: str, value: int) -> None:
    assert whole(0)(number) == value


@pytest.mark.parametrize(
    "number", ["", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x", "08", "1_", "_1", "1__0", "٣", "²", "0xg", "1" * 5000]
)
def test_what_is_no_number(number: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        whole(0)(number)


def test_numbers_have_limits() -> None:
    with pytest.raises(ValueError, match="must be at most 18446744073709551615"):
        whole(0)(str(2**64))
    with pytest.raises(ValueError, match="must be at least 4"):
        whole(4, 31)("3")
    with pytest.raises(ValueError, match="must be at most 31"):
        whole(4, 31)("32")


def test_nothing_kept_means_everything_is() -> None:
    assert at_most("5") == 5
    assert at_most("0") > 10**15


@pytest.mark.parametrize("word", ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"])
def test_go_booleans(word: str) -> None:
    assert boolean(word) is (word[0] in "1tT")


@pytest.mark.parametrize("word", ["", "yes", "on", "tRUE", " true", "2"])
def test_what_is_no_boolean(word: str) -> None:
    with pytest.raises(ValueError, match="not a boolean"):
        boolean(word)


def test_levels_and_switches() -> None:
    assert level("warn") == level("WARN") == "warn"
    with pytest.raises(ValueError, match="must be debug, info, warn, error, panic or fatal"):
        level("verbose")
    assert [switch("fixed", "etcd")(word) for word in ("fixed", "etcd")] == [False, True]
    with pytest.raises(ValueError, match="must be fixed or etcd"):
        switch("fixed", "etcd")("yes")


@pytest.mark.parametrize(
    ("value", "members"),
    [
        ("a=http://a:1", {"a": ("http://a:1",)}),
        ("a=http://a:1,b=http://b:1", {"a": ("http://a:1",), "b": ("http://b:1",)}),
        ("a=http://a:2,b=http://b:1,a=http://a:1", {"a": ("http://a:1", "http://a:2"), "b": ("http://b:1",)}),
        ("a=HTTP://a:1", {"a": ("http://a:1",)}),
        (" a=http://a:1 , b=http://b:1 ,", {"a": ("http://a:1",), "b": ("http://b:1",)}),
        ("a=http://[::1]:1", {"a": ("http://[::1]:1",)}),
        ("", {}),
    ],
)
def test_initial_clusters(value: str, members: dict[str, tuple[str, ...]]) -> None:
    assert initial_cluster(value) == members


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("a", '"a" does not have the form name=URL'),
        ("=http://a:1", '"=http://a:1" does not have the form name=URL'),
        ("a=", '"a=" does not have the form name=URL'),
        ("http://a:1", '"http://a:1" does not have the form name=URL'),
        ("a=http://a", 'URL address does not have the form "host:port": http://a'),
        ("a=a:1", "URL scheme must be http or https: a:1"),
        ("a=http://a:1,b=http://a:1", "initial cluster a=http://a:1,b=http://a:1 has duplicate url"),
        ("a=http://a:1,a=http://a:1", "initial cluster a=http://a:1,a=http://a:1 has duplicate url"),
    ],
)
def test_bad_initial_clusters(value: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the whole text is compared
        initial_cluster(value)
    assert str(caught.value) == reason
