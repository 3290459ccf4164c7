"""How patient a client is: short enough that a function can still answer when the service it asks does not."""

from botocore.config import Config

CONNECT_SECONDS = 2
READ_SECONDS = 3
SENDS = 3
"""How often one request is sent; the client waits between them, with jitter."""

PATIENCE = Config(
    connect_timeout=CONNECT_SECONDS,
    read_timeout=READ_SECONDS,
    retries={"total_max_attempts": SENDS, "mode": "standard"},
)
"""For every client made directly; boto3's own (a minute, five times) outlives any function here."""
