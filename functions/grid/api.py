"""GET /v1/grid/places: where a point, a building, a room, an address or a device is, and who is on duty there."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Query

from grid.coordinates import position
from grid.queries import Located, PointOutside, place_at, place_by_id, place_of_address, place_of_device
from grid.store import GridRow, GridStore
from grid.views import PlaceView, Where, view_of
from linli.access import Actor, Resource
from linli.clock import utc_now
from linli.errors import Invalid, PlaceAbsent
from linli.http import Api
from linli.limits import Limit
from linli.log import logger

log = logger("grid")
api = Api("grid", log)
store = GridStore()
handler = log.inject_lambda_context(api.handler)

# Somebody on patrol asks where they are every few seconds; who asks every second is reading the register out.
FINDING = Limit(GridRow, "find", calls=60)


class QuestionUnclear(Invalid):
    code = "place-question-unclear"
    zh = "请按一种方式查询：lat、lon 和 datum，或 community 和 address，或 device_id"
    en = "ask in one way: lat, lon and datum, or community and address, or device_id"


@api.route("GET", "/v1/grid/places/<place_id>")
def read_place(place_id: str, actor: Actor) -> PlaceView:
    """A grid, building or room, with its grid, its divisions and who is on duty."""
    found = place_by_id(place_id, at=utc_now(), store=store)
    return _seen_by(actor, found, PlaceAbsent("place_id"))


@api.route("GET", "/v1/grid/places", limit=FINDING)
def find_place(where: Annotated[Where, Query()], actor: Actor) -> PlaceView:
    """The place of a point, of an address within a community, or of a device (staff only)."""
    at = utc_now()
    match where.model_dump(exclude_none=True):
        case {"lat": lat, "lon": lon, **rest} if rest.keys() <= {"datum"}:
            located = place_at(position(lat, lon, where.datum), at=at, store=store)
            return _seen_by(actor, located, PointOutside("lat"))
        case {"community": community, "address": address, **rest} if not rest:
            located = place_of_address(community, address, at=at, store=store)
            return _seen_by(actor, located, PlaceAbsent("address"))
        case {"device_id": device_id, **rest} if not rest:
            located = place_of_device(device_id, at=at, store=store)
            absent = PlaceAbsent("device_id")
            # Where a device is leads to a household: who may not read the device does not learn it.
            device = Resource("Device", device_id, _within(located))
            actor.require("read_device", device, seen_by="read_device", absent=absent)
            return _seen_by(actor, located, absent)
    raise QuestionUnclear()


def _seen_by(actor: Actor, found: Located, absent: PlaceAbsent) -> PlaceView:
    """The view of it; `absent` if it is out of the actor's scope."""
    resource = Resource("Place", found.place_id, _within(found))
    actor.require("read_place", resource, seen_by="read_place", absent=absent)
    return view_of(found)


def _within(found: Located) -> list[str]:
    """Its areas: an exclusive grid also lies in its base grid, whose worker sees it."""
    return [*found.grid.ancestors, found.grid.grid_id]
