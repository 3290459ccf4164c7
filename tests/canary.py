"""A person who does not exist, in every text the suites write: whoever finds them elsewhere has found a leak.

Synthetic: the citizen number is well formed (GB 11643) and of somebody born in 1880, the phone number is of a segment that
is not given out, the name is nobody's.
"""

import json
from urllib.parse import quote

ID_NUMBER = "34010418800307001X"
PHONE = "14200001234"
NAME = "卡纳瑞甲"
CANARY = (ID_NUMBER, PHONE, NAME)

TEXT = f"{NAME}，身份证{ID_NUMBER}，电话{PHONE}，楼道灯不亮"
"""A resident's report, as people do write them."""
NOTE = f"已联系{NAME}{PHONE}"
"""What staff note on a step."""


def serial(mark: str) -> str:
    """A serial number that a maker should not have chosen."""
    return f"{PHONE}.{ID_NUMBER}.{mark}"


def _spellings(one: str) -> set[str]:
    escaped = json.dumps(one)[1:-1]
    return {one, one.lower(), quote(one), escaped, json.dumps(escaped)[1:-1]}


_SPELLINGS = set().union(*map(_spellings, CANARY))


def seen_in(text: str) -> list[str]:
    """The spellings of the canary that stand in the text: as they are, escaped for JSON once or twice, or for an address."""
    return sorted(spelt for spelt in _SPELLINGS if spelt in text)
