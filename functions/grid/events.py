"""What `grid` publishes."""

from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from linli.facts import Fact


class ShiftData(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    post_id: str
    from_at: AwareDatetime
    to_at: AwareDatetime | None = None


class DutyRosterChanged(Fact):
    """The whole roster of one grid, as it now is. Aggregate: the grid."""

    context: ClassVar[str] = "grid"
    grid_id: str
    shifts: tuple[ShiftData, ...]
    duty_officer: str
    deputy_officer: str | None = None
