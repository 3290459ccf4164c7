"""What devices ask, from the queue of `iot_rules/requests.yaml`; each is answered on the device's own answers topic."""

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from devices.broker import Broker
from devices.credentials import CertificateIssuer
from devices.domain import Device, DeviceAbsent
from devices.requests import confirm_certificate, offer_certificate
from devices.store import DeviceStore
from linli.batch import consume, read
from linli.clock import utc_now
from linli.errors import Conflict, Invalid, LinliError, Unreadable
from linli.ingest import Delivery, FromDevice
from linli.log import logger

log = logger("devices")
store = DeviceStore()
broker = cache(Broker)
issuer = cache(CertificateIssuer)


class RequestMessage(FromDevice):
    """`ref` comes back with the answer; `csr` is the certificate signing request (PEM) of `certificate`."""

    ask: Literal["endpoint", "certificate", "confirm"]
    ref: Annotated[str, StringConstraints(max_length=64)] | None = None
    csr: Annotated[str, StringConstraints(min_length=1, max_length=8192)] | None = None


class Refusal(BaseModel):
    code: str
    zh: str
    en: str


class AnswerMessage(BaseModel):
    """`at` is the platform's clock. A refusal says why in Chinese and English; everything else is as asked for."""

    ask: Literal["endpoint", "certificate", "confirm"]
    ref: str | None = None
    at: AwareDatetime
    refused: Refusal | None = None
    endpoint: str | None = None
    port: int | None = None
    prefix: str | None = None
    topics: dict[str, str] | None = None
    certificate_id: str | None = None
    certificate_pem: str | None = None
    certificate_expires_at: AwareDatetime | None = Field(
        default=None, description="when the certificate is to have been replaced"
    )


class RequestDelivery(Delivery):
    """`principal` is the certificate the request came over."""

    principal: str


@log.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return consume(event, context, answer_request, table=store.table, source="requests", log=log, clock=utc_now)


def answer_request(body: str) -> None:
    """Raises Unreadable for what cannot be understood; a refusal the device can act on is its answer."""
    delivery = read(RequestDelivery, body)
    message = delivery.message(RequestMessage)
    about = {"ask": message.ask, "ref": message.ref, "at": utc_now()}
    try:
        answer = AnswerMessage(**about, **_answered(message, delivery))
    except DeviceAbsent as error:
        raise Unreadable("thing", reason="unknown thing") from error
    except (Conflict, Invalid) as error:
        answer = AnswerMessage(**about, refused=_refusal(error))
    broker().answer(delivery.thing, answer.model_dump(mode="json", exclude_none=True))
    log.info(
        "request answered",
        thing=delivery.thing,
        ask=message.ask,
        refused=answer.refused and answer.refused.code,
        correlation_id=delivery.trace,
    )


def _answered(message: RequestMessage, delivery: RequestDelivery) -> dict[str, Any]:
    thing, trace = delivery.thing, delivery.trace
    if message.ask == "endpoint":
        return vars(broker().connection(thing)) | _certificate_of(store.device(thing))
    if message.ask == "confirm":
        used = delivery.principal
        device = confirm_certificate(thing, used, trace=trace, store=store, issuer=issuer(), clock=utc_now)
        return _certificate_of(device)
    if message.csr is None:
        raise Unreadable("csr", reason="missing")
    certificate, pem = offer_certificate(thing, message.csr, trace=trace, store=store, issuer=issuer(), clock=utc_now)
    return {
        "certificate_id": certificate.certificate_id,
        "certificate_pem": pem,
        "certificate_expires_at": certificate.expires_at,
    }


def _certificate_of(device: Device) -> dict[str, Any]:
    return {"certificate_id": device.certificate_id, "certificate_expires_at": device.certificate_expires_at}


def _refusal(error: LinliError) -> Refusal:
    return Refusal(code=error.code, zh=error.text("zh"), en=error.text("en"))
