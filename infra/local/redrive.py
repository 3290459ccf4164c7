"""`make redrive ARGS="…"`: what could not be understood or was given up, listed, explained and put back on its queue.

    list                          what is parked, by context, day, source and reason, with counts, ids and the command
                                  that replays them (a dry run first); dead letters
    explain ID [--show-payload]   one message: why, which field, what was expected; its content only if asked for
    replay ID… [--dry-run]        put messages back on the queue they came from: these, or all of a --reason, --source,
                                  --context or --day. Each once: a message that fails again is parked anew
    dead-letters [NAME…]          put the letters of these dead-letter queues (or of all) back on the queues they serve;
                                  NAME as in the list, or what follows `dead-letters-` in the alarm's name

The deployment in use is found as `make admin` finds it; days are Beijing days, the last 14 unless --day names one.
"""

import argparse
import base64
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.admin import account_is_meant, account_outputs, local_outputs
from infra.local.deadletters import DEAD, dead_letters, redrive
from infra.local.parked import Message, ParkedMessages, Queues, Replayed, Wanted, contracts, queue_name, replay
from linli.clock import Clock, beijing_day, utc_now

DAYS = 14
SHOWN = 3
"""Ids shown of a group unless all are asked for."""


@dataclass(frozen=True)
class Deployment:
    tables: list[ParkedMessages]
    queues: Queues
    operator: str
    clock: Clock = utc_now


@dataclass
class Group:
    """Messages that were parked for the same reason."""

    waiting: list[str] = field(default_factory=list)
    replayed: int = 0

    def add(self, message: Message) -> None:
        if message.replayed_at:
            self.replayed += 1
        else:
            self.waiting.append(message.message_id)


Key = tuple[str, str, str, str, str]


def groups(messages: Iterable[Message], wanted: Wanted) -> dict[Key, Group]:
    """By context, day, source, reason and field."""
    found: dict[Key, Group] = {}
    for one in messages:
        if wanted.means(one):
            key = (one.context, one.day, one.source, one.reason, one.field or "-")
            found.setdefault(key, Group()).add(one)
    return dict(sorted(found.items()))


def show_list(deployment: Deployment, options: argparse.Namespace) -> int:
    tables, days = _scope(deployment, options)
    messages = (one for table in tables for day in days for one in table.on(day))
    found = groups(messages, Wanted(options.source, options.reason))
    print(f"\n  停放的消息 / parked messages, {days[-1]}–{days[0]}")
    for (context, day, source, reason, named), group in found.items():
        print(f"  {context:<9} {day}  {source:<18} {reason} · {named}")
        print(f"            待处理 / waiting {len(group.waiting)}, 已重放 / replayed {group.replayed}")
        for message_id in group.waiting if options.ids else group.waiting[:SHOWN]:
            print(f"            {message_id}")
        if not options.ids and len(group.waiting) > SHOWN:
            print(f"            … {len(group.waiting) - SHOWN}  (--ids)")
        if group.waiting:
            print(f"            {replay_command(context, day, source, reason)}")
    if not found:
        print("  无 / none")
    print("\n  死信 / dead letters")
    for letters in dead_letters(deployment.queues):
        print(f"  {letters.count:>7}  {letters.name}{'' if letters.source else '  (无需重投 / kept elsewhere)'}")
    return 0


def replay_command(context: str, day: str, source: str, reason: str) -> str:
    """What an operator copies into a shell to try what a group's replay would do."""
    chosen = ["replay", "--context", context, "--day", day, "--source", source, "--reason", reason, "--dry-run"]
    said = shlex.join(chosen).replace("$", "$$")
    plain = not set(said) & set('"`$\\!')
    return f'make redrive ARGS="{said}"' if plain else f"make redrive ARGS={shlex.quote(said)}"


def explain(deployment: Deployment, options: argparse.Namespace) -> int:
    message = next(_found(deployment, options, options.message_id), None)
    if message is None:
        print(f"  没有这条消息 / no such message in these days: {options.message_id}")
        return 1
    replayed = f"{message.replayed_at}, {message.replayed_by}" if message.replayed_at else "-"
    for name, value in (
        ("来源 / source", f"{message.context} · {message.source}"),
        ("原因 / reason", message.reason),
        ("字段 / field", message.field or "-"),
        ("停放时间 / parked at", message.parked_at),
        ("大小 / size", f"{message.size}{' (过大，未全部保留 / too large, cut)' if message.body is None else ''}"),
        ("sha256", message.sha256),
        ("应符合 / expected", ", ".join(contracts(message.source))),
        ("重放 / replayed", replayed),
        ("队列 / queue", queue_name(deployment.queues.prefix, message.context, message.source)),
    ):
        print(f"  {name:<18} {value}")
    if options.show_payload:
        print(f"\n{_readable(message.payload or b'')}")
    return 0


def put_back(deployment: Deployment, options: argparse.Namespace) -> int:
    if not (options.message_ids or options.reason or options.source or options.context or options.day):
        print("  请指明消息、原因、来源或日期 / say which: an id, --reason, --source, --context or --day")
        return 2
    tables, days = _scope(deployment, options)
    ids = frozenset(options.message_ids) or None
    wanted = Wanted(options.source, options.reason, ids)
    at = deployment.clock()
    total = Replayed()
    for table in tables:
        for day in days:
            done = replay(
                table, day, wanted, queues=deployment.queues, at=at, by=deployment.operator, dry_run=options.dry_run
            )
            total.sent += done.sent
            total.already += done.already
            total.later += done.later
            total.cut += done.cut
            total.refused += done.refused
    what = "将重放 / would be replayed" if options.dry_run else "已重放 / replayed"
    print(f"  {what} {total.sent}, 先前已重放 / already replayed before {total.already}")
    if total.later:
        print(f"  其间新停放，未动 / parked meanwhile, left alone {total.later}")
    found = total.sent + total.already + total.later + len(total.cut) + len(total.refused)
    if found < len(options.message_ids):
        print(f"  这些天里没有的编号 / ids not found in these days: {len(options.message_ids) - found}")
        return 1
    for title, left in (("过大未全部保留 / too large, cut", total.cut), ("队列拒收 / queue refused", total.refused)):
        for message_id in left:
            print(f"  {title}: {message_id}")
    return 1 if total.cut or total.refused else 0


def put_back_dead_letters(deployment: Deployment, options: argparse.Namespace) -> int:
    known = {one.name: one for one in dead_letters(deployment.queues)}
    wanted = options.names or [name for name, one in known.items() if one.count and one.source]
    for said in wanted:
        name = said if said in known else f"{deployment.queues.prefix}-{said}{DEAD}"
        if name not in known or known[name].source is None:
            print(f"  没有可重投的死信队列 / no dead-letter queue that can be put back: {said}")
            return 1
        done = redrive(deployment.queues, name)
        print(f"  {name}: {done.moved} → {known[name].source}")
        for why, count in done.left.items():
            print(f"  {' ' * len(name)}  {count} 留在原处 / left: {why}")
    if not wanted:
        print("  没有死信 / no dead letters")
    return 0


def _scope(deployment: Deployment, options: argparse.Namespace) -> tuple[list[ParkedMessages], list[str]]:
    """The contexts and, newest first, the days that are meant."""
    now = deployment.clock()
    days = [options.day] if options.day else [beijing_day(now - timedelta(days=back)) for back in range(DAYS)]
    return [one for one in deployment.tables if options.context in (None, one.context)], days


def _found(deployment: Deployment, options: argparse.Namespace, message_id: str) -> Iterator[Message]:
    tables, days = _scope(deployment, options)
    for table in tables:
        if message := table.find(message_id, days):
            yield message


def _readable(body: bytes) -> str:
    """The body, and below it what the device sent in it."""
    text = body.decode("utf-8", "backslashreplace")
    try:
        return f"{text}\n\n{base64.b64decode(json.loads(text)['payload']).decode('utf-8', 'backslashreplace')}"
    except (ValueError, TypeError, KeyError):
        return text


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="make redrive", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--context", help="alarms, devices, grid, tickets …")
    where.add_argument("--day", help="yyyymmdd, in Beijing")
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--source", help="as in the list")
    which.add_argument("--reason", help="as in the list")
    commands = options.add_subparsers(required=True, metavar="list | explain | replay | dead-letters")
    listing = commands.add_parser("list", parents=[where, which])
    listing.add_argument("--ids", action="store_true", help="every id, not the first three of each group")
    listing.set_defaults(run=show_list)
    one = commands.add_parser("explain", parents=[where])
    one.add_argument("message_id")
    one.add_argument("--show-payload", action="store_true", help="print the content, which may name persons")
    one.set_defaults(run=explain)
    back = commands.add_parser("replay", parents=[where, which])
    back.add_argument("message_ids", nargs="*")
    back.add_argument("--dry-run", action="store_true", help="count what would be sent, send nothing")
    back.set_defaults(run=put_back)
    dead = commands.add_parser("dead-letters")
    dead.add_argument("names", nargs="*", help="linli-devices-presence-dead, or devices-presence")
    dead.set_defaults(run=put_back_dead_letters)
    return options


def deployment_of(outputs: dict[str, str]) -> Deployment:
    """The deployment with these outputs of its root: every `…Table` is a context's."""
    dynamodb = boto3.client("dynamodb")
    names = {key.removesuffix("Table").lower(): name for key, name in outputs.items() if key.endswith("Table")}
    tables = [ParkedMessages(context, name, dynamodb) for context, name in sorted(names.items())]
    operator = str(boto3.client("sts").get_caller_identity()["Arn"])
    return Deployment(tables, Queues(outputs["Prefix"], boto3.client("sqs")), operator)


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    outputs = account_outputs() if account_is_meant(os.environ) else local_outputs()
    if "Prefix" not in outputs:
        sys.exit("  部署早于此工具，请先重新部署 / this deployment is older than the tool: deploy first")
    try:
        return int(options.run(deployment_of(outputs), options))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"  中断，可再次运行 / interrupted, run it again: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
