"""What `tickets` publishes. Aggregate: the ticket."""

from typing import ClassVar

from pydantic import AwareDatetime

from linli.facts import Fact, Place


class TicketOpened(Fact):
    """A ticket exists, and waits for `holder` where somebody is on duty."""

    context: ClassVar[str] = "tickets"
    ticket_id: str
    kind: str
    category: str
    place: Place
    state: str
    due_at: AwareDatetime
    severity: str | None = None
    holder: str | None = None


class TicketStepped(Fact):
    """A step was taken, by staff or by the system."""

    context: ClassVar[str] = "tickets"
    ticket_id: str
    step: str
    state: str
    place: Place
    holder: str | None = None
    post: str | None = None
