"""`python -m bench`: the whole table, by turns; `--quick` ends in under two minutes."""

from __future__ import annotations

import contextlib
import datetime
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import click

from . import plots
from .errors import BenchError
from .generators import limits
from .machine import describe
from .report import markdown, quantity
from .result import ETCD, ETCDPY, Result
from .scale import FULL, QUICK, Scale
from .servers import Product
from .workloads import PARTS, Figure, Figures
from .wrk import check_installed

_CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = _CHECKOUT / "bench" / "results"
DATA = _CHECKOUT / "data"
"""On the disk of the checkout: fsync must mean what it says."""

_FILES = 16_384


@click.command()
@click.option("--quick", is_flag=True, help="A small run, under two minutes; its figures are not comparable.")
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="Only this part; may be repeated.")
@click.option("--etcd", default="etcd", show_default=True, help="The etcd to compare with.")
@click.option("--etcdpy", default=str(Path(sys.executable).with_name("etcdpy")), help="The etcdpy to measure.")
def main(quick: bool, parts: tuple[str, ...], etcd: str, etcdpy: str) -> None:
    """Measure etcdpy against etcd and write bench/results/."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every `finally` runs and no server stays behind
    DATA.mkdir(exist_ok=True)
    try:
        products = _products(etcd, etcdpy)
        _allow_files()
        result = _measure(products, QUICK if quick else FULL, parts or tuple(PARTS))
    except BenchError as error:
        raise click.ClickException(str(error)) from error
    click.echo(markdown(result))
    _write(result)


def _products(etcd: str, etcdpy: str) -> tuple[Product, Product]:
    check_installed()
    if shutil.which(etcd) is None:
        raise BenchError(f"no `{etcd}` on PATH, the server to compare with: apt-get install etcd-server")
    if shutil.which(etcdpy) is None:
        raise BenchError(f"no `{etcdpy}`: make install")
    return Product(ETCD, etcd), Product(ETCDPY, etcdpy)


def _allow_files() -> None:
    """A thousand watchers are a thousand open files, here and in the servers, which inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def _measure(products: tuple[Product, Product], scale: Scale, parts: tuple[str, ...]) -> Result:
    date = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")
    versions = {product.name: product.version() for product in products}
    result = Result(date, scale, describe(DATA), versions, {}, {ETCD: [], ETCDPY: []}, [])
    _collect(limits(scale), result.limits, "generators")
    for number in range(1, scale.rounds + 1):
        for product in products:
            result.rounds[product.name].append({})
            for part in parts:
                _measure_part(result, product, part, f"round {number}/{scale.rounds} {product.name} {part}")
    return result


def _measure_part(result: Result, product: Product, part: str, title: str) -> None:
    """Run one part. What it can't measure is noted, and the run goes on."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=DATA) as directory:
        figures = PARTS[part](product, Path(directory, "cluster"), result.scale)
        try:
            _collect(figures, result.rounds[product.name][-1], title)
        except (BenchError, OSError, TimeoutError) as error:
            result.failures.append(f"{title}: {error}")
            _say(f"{title}: {error}")


def _collect(figures: Generator[Figure, None, None], found: Figures, title: str) -> None:
    with contextlib.closing(figures):
        for name, value in figures:
            found[name] = value
            what, _, unit = name.rpartition(".")
            _say(f"{title}: {what} {quantity(value, '/s' if unit == 'rate' else unit)}")


def _say(text: str) -> None:
    click.echo(f"[{time.monotonic() - _STARTED:5.0f} s] {text}", err=True)


_STARTED = time.monotonic()


def _write(result: Result) -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result.date[:16].replace(' ', '-').replace(':', '')}-{result.scale.name}"
    path.with_suffix(".json").write_text(result.to_json())
    path.with_suffix(".md").write_text(markdown(result))
    _say(f"wrote {path}.json and .md")
    try:
        plots.draw(result, path.with_suffix(".svg"))
    except ImportError:
        _say("no plots: matplotlib is missing (pip install matplotlib)")


if __name__ == "__main__":
    main()
