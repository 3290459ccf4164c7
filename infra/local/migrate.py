"""`make migrate`: bring the rows of older versions up to today's, in the deployment in use (as `make admin` finds it).

`--dry-run` counts and writes nothing. It may be stopped and started again at any time, and runs beside live writes;
`--rate` is how many rows it reads a second. It is done when a walk finds no old row: then it says so. A row that nobody can
bring up, because what it belongs to is gone, is named by its key, left as it is, and holds up no other.
"""

import argparse
import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.admin import outputs_in_use
from linli.errors import LinliError
from linli.migration import Counts, Plan, Walk
from linli.versions import Item

RATE = 200
"""Rows a second: what one walk reads costs a table about that many read units, and no more than as many writes."""


def plans(outputs: dict[str, str]) -> dict[str, tuple[str, Plan]]:
    """The contexts whose rows have had several versions: their table and their plan."""
    os.environ["TICKETS_TABLE"] = outputs["TicketsTable"]
    os.environ["PERSONAL_KEY"], os.environ["SEAL_ALGORITHM"] = outputs["PersonalKey"], outputs["SealAlgorithm"]
    from linli.sealed import deployed_seals
    from tickets.migration import TicketsPlan
    from tickets.store import TicketStore

    store = TicketStore()
    return {"tickets": (outputs["TicketsTable"], TicketsPlan(store, deployed_seals(store.table)))}


def migrate(outputs: dict[str, str], *, rate: int = RATE, dry_run: bool = False) -> dict[str, Counts]:
    """One walk over each context's table."""
    patient = Config(retries={"total_max_attempts": 10, "mode": "adaptive"})
    dynamodb = boto3.client("dynamodb", config=patient)
    found = {}
    for context, (table, plan) in plans(outputs).items():
        walk = Walk(dynamodb, table, plan, pace=lambda rows: time.sleep(rows / rate), name=_name)
        found[context] = walk.look() if dry_run else walk.run()
    return found


def _name(row: Item) -> None:
    key = f"{row['pk']['S']} {row['sk']['S']}"
    print(f"  无法改写 beyond: {key}（所属对象不存在 what it belongs to is gone）", file=sys.stderr)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make migrate", description="Bring old rows up to today's version.")
    parser.add_argument("--dry-run", action="store_true", help="count, write nothing")
    parser.add_argument("--rate", type=int, default=RATE, help=f"rows a second (default {RATE})")
    options = parser.parse_args(arguments)
    try:
        counted = migrate(outputs_in_use(), rate=options.rate, dry_run=options.dry_run)
    except LinliError as error:
        sys.exit(f"  {error.text('zh')} / {error.text('en')}")
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"  迁移中断，可重新运行 / stopped, run it again to go on: {error}")
    for context, counts in counted.items():
        print(
            f"  {context}: 读取 read {counts.read}，旧版 old {counts.old}，"
            f"已改写 rewritten {counts.rewritten}，期间变动 changed meanwhile {counts.changed}，无法改写 beyond {counts.beyond}"
        )
    left = sum(counts.old - counts.rewritten - counts.beyond for counts in counted.values())
    print(
        "  无须再改写 / nothing is left to rewrite"
        if not left
        else f"  仍有旧版数据 {left} 行 / {left} old rows are left: run it again"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
