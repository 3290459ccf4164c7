"""What `tick` tells `on_minute`."""

from pydantic import BaseModel

from linli.facts import Instant


class DueMinute(BaseModel):
    """The shards one worker drains of a minute; the minute is the schedule's, whenever the message is read."""

    minute: Instant
    shards: list[int]
