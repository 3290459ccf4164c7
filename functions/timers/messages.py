"""What `tick` tells `on_minute`."""

from pydantic import AwareDatetime, BaseModel


class DueMinute(BaseModel):
    """The shards one worker drains of a minute; the minute is the schedule's, whenever the message is read."""

    minute: AwareDatetime
    shards: list[int]
