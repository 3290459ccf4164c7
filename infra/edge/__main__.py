"""`make class-from ARGS="--name meter a.xml b.xml"` drafts a device class; `python -m infra.edge ngsi|lwm2m` translates."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from infra.edge import lwm2m, ngsi
from infra.edge.messages import Untranslatable


def main(arguments: list[str]) -> int:
    """Prints JSON; 1 and the field on standard error for what cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        return _draft(options) if options.what == "class-from" else _translate(options)
    except Untranslatable as error:
        print(f"  {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.edge", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    draft = commands.add_parser("class-from", help="a draft of a device class from LwM2M object definitions")
    draft.add_argument("--name", required=True, help="the class's name")
    draft.add_argument("objects", nargs="+", type=Path, help="XML files of the OMA registry")
    for name, what in (("ngsi", "a Smart Data Models entity"), ("lwm2m", "SenML-JSON or LwM2M JSON")):
        command = commands.add_parser(name, help=f"{what} as our messages, one a line")
        command.add_argument("--class", dest="class_name", required=True, help="the device class it becomes")
        command.add_argument("--source", default="", help="the device, where the data does not name it")
        command.add_argument("file", type=Path)
    return parser


def _draft(options: argparse.Namespace) -> int:
    draft, left = lwm2m.class_draft(options.objects, options.name)
    print(json.dumps(draft, ensure_ascii=False, indent=2))
    print("  请补充 still to be said by a person:", *left, sep="\n    ", file=sys.stderr)
    return 0


def _translate(options: argparse.Namespace) -> int:
    try:
        content = json.loads(options.file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Untranslatable(options.file.name, "not JSON") from error
    now = datetime.now(UTC)
    if options.what == "ngsi":
        said = ngsi.translate(content, options.class_name, received_at=now)
    else:
        said = lwm2m.translate(content, options.class_name, options.source, received_at=now)
    for message in said:
        print(json.dumps(vars(message), ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
