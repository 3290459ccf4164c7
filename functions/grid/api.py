"""GET /v1/grid/places: where a point, a building, a room, an address or a device is, and who is on duty there."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query
from pydantic import Field, StringConstraints

from grid.coordinates import position
from grid.domain import GridKind
from grid.queries import Located, PointOutside, place_at, place_by_id, place_of_address, place_of_device
from grid.store import GridStore
from linli.access import Actor, Resource
from linli.clock import utc_now
from linli.errors import Invalid, PlaceAbsent
from linli.facts import Place
from linli.http import Api, Model
from linli.log import logger

log = logger("grid")
api = Api("grid", log)
store = GridStore()
handler = log.inject_lambda_context(api.handler)


class QuestionUnclear(Invalid):
    code = "place-question-unclear"
    zh = "请按一种方式查询：lat、lon 和 datum，或 community 和 address，或 device_id"
    en = "ask in one way: lat, lon and datum, or community and address, or device_id"


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


class PlaceView(Model):
    place_id: str = Field(description="of the room, the building or, for a point, the grid")
    name: str
    place: Place
    grid: GridView
    duty: DutyView


@api.route("GET", "/v1/grid/places/<place_id>")
def read_place(place_id: str, actor: Actor) -> PlaceView:
    """A grid, building or room, with its grid, its divisions and who is on duty."""
    found = place_by_id(place_id, at=utc_now(), store=store)
    return _seen_by(actor, found, PlaceAbsent("place_id"))


@api.route("GET", "/v1/grid/places")
def find_place(where: Annotated[Where, Query()], actor: Actor) -> PlaceView:
    """The place of a point, of an address within a community, or of a device."""
    at = utc_now()
    match where.model_dump(exclude_none=True):
        case {"lat": lat, "lon": lon, **rest} if rest.keys() <= {"datum"}:
            located = place_at(position(lat, lon, where.datum), at=at, store=store)
            return _seen_by(actor, located, PointOutside("lat"))
        case {"community": community, "address": address, **rest} if not rest:
            located = place_of_address(community, address, at=at, store=store)
            return _seen_by(actor, located, PlaceAbsent("address"))
        case {"device_id": device_id, **rest} if not rest:
            return _seen_by(actor, place_of_device(device_id, at=at, store=store), PlaceAbsent("device_id"))
    raise QuestionUnclear()


def _seen_by(actor: Actor, found: Located, absent: PlaceAbsent) -> PlaceView:
    """The view of it; `absent` if it is out of the actor's scope."""
    grid, building = found.grid, found.building
    place = Place(
        path=grid.path,
        grid_id=grid.grid_id,
        building_id=building.building_id if building else None,
        room_id=found.room_id,
    )
    resource = Resource("Place", found.place_id, [*place.path, place.grid_id])
    actor.require("read_place", resource, seen_by="read_place", absent=absent)
    return PlaceView(
        place_id=found.place_id,
        name=found.name,
        place=place,
        grid=GridView(grid_id=grid.grid_id, name=grid.name, kind=grid.kind, base_grid_id=grid.base_grid_id),
        duty=DutyView(post_id=found.duty.post_id, duty_officer=found.duty.duty_officer),
    )
