"""Device messages as the rules in `iot_rules/` put them on a queue, and the bytes the device itself sent."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from linli.batch import Data, read
from linli.errors import Unreadable

DeviceTime = Annotated[
    AwareDatetime, Field(strict=True, ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))
]
Thing = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z:_-]{1,128}$")]
Millis = Annotated[int, Field(ge=0, lt=4_102_444_800_000)]
DeviceCounter = Annotated[int, Field(ge=0, lt=10**15, strict=True)]


class Delivery(BaseModel):
    """What a rule adds to a message: the thing is the topic's, which the device's policy holds to its certificate."""

    model_config = ConfigDict(frozen=True)
    thing: Thing
    payload: str
    received_ms: Millis
    trace: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,64}$")]

    @property
    def received_at(self) -> datetime:
        return datetime.fromtimestamp(self.received_ms / 1000, UTC)

    def message(self, body: type[Data]) -> Data:
        """The device's own message. Raises Unreadable naming the first field that cannot be used."""
        try:
            return read(body, base64.b64decode(self.payload, validate=True))
        except binascii.Error as error:
            raise Unreadable("payload", reason="not base64") from error


class FromDevice(BaseModel):
    """The base of device messages: fields this version does not know are left alone, so that makers can add some."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)
