"""Start MiniStack with every socket it opens kept on the loopback interface."""

import socket
from typing import Any

from ministack.app import main

WIDE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
_bind = socket.socket.bind


def _bind_loopback(self: socket.socket, address: Any) -> None:
    """Bind, with an address that means every interface narrowed to loopback."""
    if isinstance(address, tuple) and address[0] in WIDE:
        address = (WIDE[address[0]], *address[1:])
    _bind(self, address)


if __name__ == "__main__":
    # MiniStack has no setting for its MQTT listener, so the narrowing happens below all of them.
    socket.socket.bind = _bind_loopback  # type: ignore[assignment,method-assign]
    main()
