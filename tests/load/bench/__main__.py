"""`make bench`: ratios and counts within one run, written as tables to docs/bench/<day>-ratios.md."""

import os
import sys
import tempfile
from pathlib import Path

from linli.clock import BEIJING, utc_now
from tests.e2e.world import World, demonstration
from tests.load.bench import ingest, lives, reads, through
from tests.load.bench.ground import Ratio, tables
from tests.support import ROOT
from tickets.store import TicketStore

HEAD = """# Ratios of {day}

Written by `make bench`; every ratio is of one run, ours and the other in turns, the least of each (what disturbs a machine only
adds). {machine} cores, Python {python}, MiniStack; nothing here ran on Lambda.
"""


def ratio(one: Ratio) -> str:
    goal = str(one.goal) if one.goal else ""
    return f"| {one.what} | {one.ours:.1f} ÷ {one.other:.1f} {one.unit} | {one.ratio:.2f} | {goal} |"


def table(title: str, columns: str, lines: list[str]) -> str:
    heads = columns.split("|")
    return "\n".join([f"## {title}", "", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *lines, ""])


def main() -> None:
    day = utc_now().astimezone(BEIJING).date().isoformat()
    python = ".".join(map(str, sys.version_info[:2]))
    parts = [HEAD.format(day=day, machine=os.cpu_count(), python=python)]
    with tempfile.TemporaryDirectory() as folder, tables(Path(folder)) as runtime:
        secret = runtime.client("secretsmanager").create_secret(Name="bench", SecretString="x" * 64)
        key = runtime.client("kms").create_key()["KeyMetadata"]["Arn"]
        os.environ |= {"CURSOR_SECRET": secret["ARN"], "BUS_NAME": "linli"}
        os.environ |= {"PERSONAL_KEY": key, "SEAL_ALGORITHM": "AES-256-GCM"}
        parts.append(table("Reading", "what|ours ÷ other|ratio|goal", [*map(ratio, reads.measure(TicketStore()))]))
        understood, lines = ingest.measure()
        parts.append(table("Telemetry", "what|ours ÷ other|ratio|goal", [ratio(understood)]))
        parts.append(table("Telemetry, counted", "what|figure|of which", lines))
        parts.append(table("A ticket's life", "what|figure|of which", lives.measure()))
    with tempfile.TemporaryDirectory() as folder, demonstration(Path(folder)) as running:
        parts.append(table("Through everything", "what|median or ratio|beside", through.measure(World(running))))
    (ROOT / "docs" / "bench" / f"{day}-ratios.md").write_text("\n".join(parts), encoding="utf-8")
    sys.stdout.write("\n".join(parts))


if __name__ == "__main__":
    main()
