"""GET /v1/grid/places/{place_id}: where a building or room is, and in which grid."""

from grid.domain import Building
from grid.store import GridStore
from linli.access import Actor, Resource
from linli.errors import PlaceAbsent
from linli.facts import Place
from linli.http import Api, Model
from linli.log import logger

log = logger("grid")
api = Api("grid", log)
store = GridStore()
handler = log.inject_lambda_context(api.handler)


class PlaceView(Model):
    place_id: str
    name: str
    place: Place


@api.route("GET", "/v1/grid/places/<place_id>")
def read_place(place_id: str, actor: Actor) -> PlaceView:
    """A building or room, with its grid and its divisions."""
    found = store.place(place_id)
    building = found if isinstance(found, Building) else found.building
    place = Place(
        path=building.path,
        grid_id=building.grid_id,
        building_id=building.building_id,
        room_id=None if found is building else place_id,
    )
    resource = Resource("Place", place_id, [*place.path, place.grid_id])
    actor.require("read_place", resource, seen_by="read_place", absent=PlaceAbsent("place_id"))
    return PlaceView(place_id=place_id, name=building.name, place=place)
