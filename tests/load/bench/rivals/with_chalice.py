"""The same GET behind Chalice, with the event it routes on made from payload 2.0."""

from typing import Any

from chalice.app import Chalice, NotFoundError, Response

from tests.load.bench.rivals.bare import areas_of, ticket_of

app = Chalice(app_name="bench")


@app.route("/v1/tickets/{ticket_id}")
def read_ticket(ticket_id: str) -> Any:
    found = ticket_of(ticket_id, areas_of(app.current_request.to_original_event()))
    if found is None:
        raise NotFoundError
    found["version"] = int(found["version"])
    for step in found["timeline"]:
        step["v"] = int(step["v"])
    return Response(found | {"v": int(found["v"])}, status_code=200)


def handler(event: dict[str, Any], context: Any) -> Any:
    http = event["requestContext"]["http"]
    shaped = {
        "requestContext": {
            **event["requestContext"],
            "resourcePath": "/v1/tickets/{ticket_id}",
            "httpMethod": http["method"],
            "identity": {"sourceIp": http["sourceIp"]},
        },
        "pathParameters": {"ticket_id": event["rawPath"].rpartition("/")[2]},
        "headers": event["headers"],
        "multiValueQueryStringParameters": None,
        "body": None,
        "isBase64Encoded": False,
        "stageVariables": None,
    }
    return app(shaped, context)
