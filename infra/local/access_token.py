"""`make token WHO=worker`: an access token of a demonstration account on the running Linli."""

import sys

from infra.local.process import LocalError
from infra.local.runtime import running
from infra.local.seed import Demonstration


def main(arguments: list[str]) -> int:
    live = running()
    if live is None:
        sys.exit("  Linli is not running in this checkout: start it with make run")
    try:
        print(Demonstration(*live).token(arguments[0] if arguments else ""))
    except LocalError as error:
        sys.exit(f"  {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
