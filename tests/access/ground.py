"""Who asks for what in the access matrix: places on real codes of Anhui, what lies there, and everybody who may come.

Huangshan is 3410 (341000 with its zeros), Chuzhou 3411: whoever strips zeros or compares prefixes lets one into the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from linli.access import Caller, Post
from linli.facts import Place
from tests.canary import TEXT

CUTS = (2, 4, 6, 9, 12, 15)
TUNXI, SHANGXIN, BAISHUJIE = "341002001001", "341002001002", "341002002001"
LANGYA, CHAOYANG = "341102001002", "340104002003"
NOWHERE = "359999999999"
"""In no book and in nobody's area."""

STAFF = ("grid_worker", "duty_officer")
ROLES = (*STAFF, "administrator")
WITHOUT_POLICY = (
    "window_clerk", "community_doctor", "supervisor", "department_handler", "device", "platform_operator", "auditor", "dpo",
)  # fmt: skip
"""The other roles of the authorization model: until a policy names them they get nothing."""


def path_of(area: str) -> tuple[str, ...]:
    """From the province to the area; the codes that are none stand directly under the province."""
    if len(area) not in CUTS or area == "341000":
        return ("34", area)
    return tuple(area[:cut] for cut in CUTS if cut <= len(area))


@dataclass(frozen=True)
class Thing:
    """A grid with all that can be asked for in it: a building, a room, a device, and a ticket in each state."""

    name: str
    grid_id: str
    number: int
    path: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", path_of(self.grid_id)[:-1])

    @property
    def community(self) -> str:
        return self.path[-1]

    @property
    def place(self) -> Place:
        return Place(path=self.path, grid_id=self.grid_id, building_id=self.building_id, room_id=self.room_id)

    @property
    def building_id(self) -> str:
        return f"{self.community}{self.number:05}"

    @property
    def room_id(self) -> str:
        return f"{self.building_id}-1-0101"

    @property
    def reporter(self) -> str:
        return f"reporter-{self.number}"

    @property
    def worker(self) -> str:
        return f"grid_worker-{self.grid_id}"

    @property
    def officer(self) -> str:
        return f"duty_officer-{self.community}"

    @cached_property
    def names(self) -> dict[str, str]:
        """What a request may be made of, by name."""
        lat, lon = 29.5 + self.number / 10, 118.5
        return {
            "ticket_id": f"01ARZ3NDEKTSV4RRFFQ69GD{self.number:03}",
            "accepted_id": f"01ARZ3NDEKTSV4RRFFQ69GA{self.number:03}",
            "verifying_id": f"01ARZ3NDEKTSV4RRFFQ69GV{self.number:03}",
            "device_id": f"01ARZ3NDEKTSV4RRFFQ69GT{self.number:03}",
            "grid_id": self.grid_id,
            "building_id": self.building_id,
            "room_id": self.room_id,
            "lat": str(lat),
            "lon": str(lon),
            "community": self.community,
            "township": self.path[3],
            "county": self.path[2],
            "city": self.path[1],
            "address": f"矩阵路{self.number}号",
            "subject": f"somebody-{self.number}",
            "post_id": f"somepost-{self.number}",
            "serial": f"MATRIX-{self.number}",
            "text": TEXT,
        }

    @property
    def tickets(self) -> dict[str, str]:
        """The post each ticket waits for."""
        return {
            self.names["ticket_id"]: self.worker,
            self.names["accepted_id"]: self.worker,
            self.names["verifying_id"]: self.officer,
        }


HERE = Thing("here", f"{TUNXI}001", 1)
CHUZHOU = Thing("Chuzhou", f"{LANGYA}001", 4)
THINGS = (
    HERE,
    Thing("next grid", f"{TUNXI}002", 2),
    Thing("next township", f"{BAISHUJIE}001", 3),
    CHUZHOU,
    Thing("Hefei", f"{CHAOYANG}001", 5),
)
ABSENT = Thing("nowhere", f"{NOWHERE}001", 6)
"""Nothing of it is there."""

AREAS = (
    "34", "3410", "341002", "341002001", TUNXI, f"{TUNXI}001",
    "3411", "341003", "341002002", SHANGXIN, f"{TUNXI}002", BAISHUJIE, f"{BAISHUJIE}001",
    "341102", "341102001", LANGYA, f"{LANGYA}001",
    "3401", "340104", CHAOYANG, f"{CHAOYANG}001",
    "341", "341000",
)  # fmt: skip
OWN = AREAS[:6]
HOMES = (TUNXI, SHANGXIN, BAISHUJIE, LANGYA, CHAOYANG)


@dataclass(frozen=True)
class Principal:
    name: str
    caller: Caller | None

    @property
    def kind(self) -> str:
        """The role, for the table of results."""
        return self.name.split(" ")[0]

    def standing(self, place: tuple[str, ...], reporter: str | None, holder: str | None) -> set[str]:
        """The words the oracle knows for what this principal is to something in a place."""
        if self.caller is None:
            return {"anybody"}
        words = {"anybody", "somebody"}
        if self.caller.subject == reporter:
            words.add("reporter")
        if self.caller.home in place:
            words.add("neighbour")
        for post in self.caller.posts:
            words.add("post")
            if post.post_id == holder:
                words.add("holder")
            if post.area in place and post.role not in WITHOUT_POLICY:
                words.add(post.role)
        return words


def staff(role: str, area: str) -> Principal:
    post = Post(f"{role}-{area}", role, path_of(area))
    return Principal(f"{role} of {area}", Caller(f"{role}-{area}", (post,)))


def principals() -> Iterator[Principal]:
    yield Principal("nobody", None)
    yield Principal("newcomer without post and home", Caller("newcomer"))
    for role in ROLES:
        yield from (staff(role, area) for area in AREAS)
    for role in WITHOUT_POLICY:
        yield from (staff(role, area) for area in OWN)
    yield from (Principal(f"resident of {home}", Caller(f"resident-{home}", home=home)) for home in HOMES)
    for thing in THINGS:
        # Who reported in one place lives in another: what they reported is theirs wherever they live.
        yield Principal(f"reporter of {thing.name}", Caller(thing.reporter, home=SHANGXIN))


PRINCIPALS = tuple(principals())
