"""What the API asks and answers about places."""

from typing import Annotated

from pydantic import Field, StringConstraints

from grid.domain import GridKind
from grid.queries import Located
from linli.facts import Place
from linli.http import Model


class Where(Model):
    """What a place is asked by: a point, an address within a community, or a device."""

    lat: float | None = Field(default=None, description="degrees north")
    lon: float | None = Field(default=None, description="degrees east")
    datum: str | None = Field(default=None, description="WGS-84 or CGCS2000, there is no default")
    community: Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")] | None = None
    address: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        default=None, description="standard address from the street on, with unit and room or without"
    )
    device_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None


class GridView(Model):
    grid_id: str
    name: str
    kind: GridKind
    base_grid_id: str | None = Field(default=None, description="the base grid an exclusive grid lies in")


class DutyView(Model):
    post_id: str | None = Field(default=None, description="the post on duty now")
    duty_officer: str | None = Field(default=None, description="the post that verifies")
    deputy_officer: str | None = Field(default=None, description="verifies what the duty officer handled themself")


class PlaceView(Model):
    place_id: str = Field(description="of the room, the building or, for a point, the grid")
    name: str
    place: Place
    grid: GridView
    duty: DutyView


def view_of(found: Located) -> PlaceView:
    grid, duty = found.grid, found.duty
    place = Place(
        path=grid.path,
        grid_id=grid.grid_id,
        building_id=found.building.building_id if found.building else None,
        room_id=found.room_id,
    )
    return PlaceView(
        place_id=found.place_id,
        name=found.name,
        place=place,
        grid=GridView(grid_id=grid.grid_id, name=grid.name, kind=grid.kind, base_grid_id=grid.base_grid_id),
        duty=DutyView(post_id=duty.post_id, duty_officer=duty.duty_officer, deputy_officer=duty.deputy_officer),
    )
