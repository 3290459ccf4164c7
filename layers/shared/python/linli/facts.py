"""Facts: what a context publishes about itself. `NounPastVerb`, versioned, one JSON Schema file each."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from linli.clock import new_id

Instant = Annotated[AwareDatetime, Field(ge=datetime(2, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))]
"""What a reader takes for a time: it can be written in UTC, with room for the limits that are reckoned from it."""


class Fact(BaseModel):
    """The data of one published fact; a subclass names its owner and version."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    context: ClassVar[str]
    version: ClassVar[int] = 1


class Place(BaseModel):
    """Where something is, always from a registry, never from a message.

    `path` is the division codes from province to community; a grid belongs to exactly one community. Readers of a newer
    version's rows and facts leave alone what they do not know.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    path: tuple[str, ...]
    grid_id: str
    building_id: str | None = None
    room_id: str | None = None

    @property
    def community(self) -> str:
        return self.path[-1]

    @property
    def county(self) -> str:
        """Six digits, also where a city has no counties below it."""
        return self.community[:6]


class Envelope(BaseModel):
    """A fact as it crosses the bus. Consumers order by (`aggregate_id`, `aggregate_version`)."""

    model_config = ConfigDict(frozen=True)
    event_id: str
    type: str
    version: int
    context: str
    aggregate_id: str
    aggregate_version: int
    occurred_at: Instant
    correlation_id: str
    data: dict[str, Any]


def envelope(fact: Fact, *, aggregate_id: str, aggregate_version: int, at: datetime, correlation_id: str) -> Envelope:
    return Envelope(
        event_id=new_id(at),
        type=type(fact).__name__,
        version=fact.version,
        context=fact.context,
        aggregate_id=aggregate_id,
        aggregate_version=aggregate_version,
        occurred_at=at,
        correlation_id=correlation_id,
        data=fact.model_dump(mode="json"),
    )
