"""A device moves only where whoever moves it may put one: both places are in their area, or the answer is as for none."""

from collections.abc import Iterator
from typing import Any

import pytest

from linli.access import Caller, Post
from tests.access.asking import Answer, nameless
from tests.access.deployment import Deployment, deployed
from tests.access.ground import ABSENT, CHUZHOU, HERE, THINGS, TUNXI, Thing, path_of, staff

MOVE, READ, LIST = "POST /v1/devices/{device_id}/moves", "GET /v1/devices/{device_id}", "GET /v1/devices"
NEXT_GRID, NEXT_TOWNSHIP = THINGS[1:3]
HERE_ONLY, COUNTY, CITY = (staff("duty_officer", area).caller for area in (TUNXI, "341002", "3410"))


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with deployed("fake") as running:
        yield running


def move(
    deployment: Deployment, caller: Caller | None, device: Thing, to: Thing, version: int = 1, **more: str
) -> Answer:
    """To the other's room."""
    path = f"/v1/devices/{device.names['device_id']}/moves"
    headers = {"idempotency-key": f"move-{device.number}-{to.number}-{version}", **more}
    body = {"place_id": to.room_id, "expected_version": version}
    return deployment.ask(MOVE, path, caller, headers=headers, body=body)


def reads(deployment: Deployment, caller: Caller | None, device: Thing) -> int:
    return deployment.ask(READ, f"/v1/devices/{device.names['device_id']}", caller)[0]


def listed(deployment: Deployment, caller: Caller | None, thing: Thing) -> bool:
    """Whether the device of `HERE` is in the list of this grid."""
    status, _, body = deployment.ask(LIST, "/v1/devices", caller, query={"grid_id": thing.grid_id})
    assert status == 200
    return HERE.names["device_id"] in body


@pytest.mark.parametrize(
    ("caller", "device", "to"),
    [
        (HERE_ONLY, HERE, NEXT_TOWNSHIP),
        (HERE_ONLY, HERE, CHUZHOU),
        (COUNTY, HERE, CHUZHOU),
        (CITY, HERE, CHUZHOU),
    ],
    ids=["out of the community", "out of the city", "a county's out of the city", "a city's out of it"],
)
def test_out_of_the_area_a_device_is_not_moved(
    deployment: Deployment, caller: Caller | None, device: Thing, to: Thing
) -> None:
    before = deployment.rows("devices")
    answer = move(deployment, caller, device, to)
    assert (answer[0], '"code":"place-not-found"' in answer[2].replace(" ", "")) == (404, True)
    assert nameless(answer) == nameless(move(deployment, caller, device, ABSENT))
    assert deployment.rows("devices") == before


@pytest.mark.parametrize("to", [HERE, NEXT_GRID, CHUZHOU], ids=lambda thing: thing.name)
def test_into_the_area_a_device_is_not_taken(deployment: Deployment, to: Thing) -> None:
    """Neither by its id nor by saying it is to hang in one's own area."""
    caller = HERE_ONLY if to is not CHUZHOU else staff("duty_officer", NEXT_TOWNSHIP.community).caller
    device = CHUZHOU if to is not CHUZHOU else HERE
    before = deployment.rows("devices")
    answer = move(deployment, caller, device, to)
    assert answer[0] == 404
    assert nameless(answer) == nameless(move(deployment, caller, ABSENT, to))
    assert deployment.rows("devices") == before


def test_two_posts_do_not_add_up(deployment: Deployment) -> None:
    """Who is duty officer on both sides acts in one post at a time, and in neither may they carry a device across."""
    posts = tuple(Post(f"officer-{area}", "duty_officer", path_of(area)) for area in (TUNXI, CHUZHOU.community))
    both = Caller("both", posts)
    before = deployment.rows("devices")
    for post in posts:
        answer = move(deployment, both, HERE, CHUZHOU, **{"linli-post": post.post_id})
        assert answer[0] == 404
        assert nameless(answer) == nameless(move(deployment, both, HERE, ABSENT, **{"linli-post": post.post_id}))
    assert deployment.rows("devices") == before


def test_moved_across_communities_it_is_the_others(deployment: Deployment) -> None:
    there: Any = staff("duty_officer", NEXT_TOWNSHIP.community).caller
    assert [reads(deployment, one, HERE) for one in (HERE_ONLY, there)] == [200, 404]
    assert listed(deployment, HERE_ONLY, HERE)
    assert move(deployment, COUNTY, HERE, NEXT_TOWNSHIP)[0] == 201
    assert [reads(deployment, one, HERE) for one in (HERE_ONLY, there)] == [404, 200]
    assert not listed(deployment, HERE_ONLY, HERE)
    assert listed(deployment, there, NEXT_TOWNSHIP)
    assert move(deployment, HERE_ONLY, HERE, NEXT_GRID, version=2)[0] == 404
    assert move(deployment, COUNTY, HERE, HERE, version=2)[0] == 201
    assert [reads(deployment, one, HERE) for one in (HERE_ONLY, there)] == [200, 404]
