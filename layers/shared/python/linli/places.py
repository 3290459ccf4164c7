"""Where a place is, asked of `grid` over its HTTP interface with the caller's own token: what they may not see is absent."""

import os
from urllib.parse import quote

import urllib3

from linli.errors import PlaceAbsent, Unavailable
from linli.facts import Place
from linli.http import Api

_HTTP = urllib3.PoolManager(retries=urllib3.Retry(2, backoff_factor=0.1), timeout=urllib3.Timeout(3.0))


def place_seen_by_caller(api: Api, place_id: str) -> Place:
    """Raises PlaceAbsent (404) for what `grid` does not show the caller, Unavailable when it does not answer."""
    event = api.app.current_event
    names: tuple[str, ...] = ("authorization", "linli-post")
    headers = {name: event.headers[name] for name in names if name in event.headers}
    try:
        answer = _HTTP.request(
            "GET", f"{os.environ['API_BASE_URL']}/v1/grid/places/{quote(place_id, safe='')}", headers=headers
        )
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable() from error
    if answer.status == 404:
        raise PlaceAbsent("place_id")
    if answer.status != 200:
        raise Unavailable()
    return Place.model_validate(answer.json()["place"])
