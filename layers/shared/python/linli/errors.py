"""Refusals that carry their meaning; `http.py` alone turns them into answers, `batch.py` alone into parked messages."""

from typing import ClassVar


class LinliError(Exception):
    """A refusal with a stable code, Chinese and English text, and the field it is about (dotted path) if there is one.

    The texts are `str.format` templates filled from the keyword details; details hold identifiers and states,
    never personal data.
    """

    code: ClassVar[str]
    zh: ClassVar[str]
    en: ClassVar[str]

    def __init__(self, field: str | None = None, **details: object) -> None:
        self.field = field
        self.details = details
        super().__init__(f"{self.code}{f' ({field})' if field else ''}: {self.en.format(**details)}")

    def text(self, language: str) -> str:
        return (self.en if language == "en" else self.zh).format(**self.details)


class Invalid(LinliError):
    """The caller's input cannot be used."""

    code = "invalid-field"
    zh = "字段的值不符合要求"
    en = "the value of this field cannot be used"


class KeyMalformed(Invalid):
    code = "idempotency-key-malformed"
    zh = "幂等键应为 8 到 64 位字母、数字、下划线或连字符"
    en = "an Idempotency-Key is 8 to 64 of [0-9A-Za-z_-]"


class PostUnclear(Invalid):
    code = "post-unclear"
    zh = "请在请求头 Linli-Post 中写明您以哪个岗位办理：{posts}"
    en = "name the post you act in with the header Linli-Post: {posts}"


class TooLarge(LinliError):
    code = "too-large"
    zh = "内容过大，上限为 {limit} 字节"
    en = "the content is too large, the limit is {limit} bytes"


class Unauthenticated(LinliError):
    code = "unauthenticated"
    zh = "登录凭证无效或已过期，请重新登录"
    en = "the token is missing, expired or not accepted: sign in again"


class Denied(LinliError):
    """The caller may see the object but not do this to it."""

    code = "denied"
    zh = "您的岗位不能办理此操作"
    en = "your post may not do this"


class Absent(LinliError):
    """Not there, or out of the caller's scope: the two are answered alike."""

    code = "not-found"
    zh = "未找到"
    en = "not found"


class PlaceAbsent(Absent):
    code = "place-not-found"
    zh = "未找到该地点"
    en = "there is no such place"


class Conflict(LinliError):
    """The state of the object does not allow the command."""

    code = "conflict"
    zh = "对象的状态已改变"
    en = "the object's state has changed"


class StaleVersion(Conflict):
    code = "stale-version"
    zh = "数据已被他人更新，请刷新后再办理"
    en = "somebody else has changed this meanwhile: read it again"


class KeyReused(Conflict):
    """The Idempotency-Key was used before with another request."""

    code = "idempotency-key-reused"
    zh = "幂等键已用于另一个请求"
    en = "this Idempotency-Key was used for another request"


class Unavailable(LinliError):
    """Something we depend on does not answer; trying again later is right."""

    code = "unavailable"
    zh = "服务繁忙，请稍后重试"
    en = "busy, try again shortly"


class TooMany(LinliError):
    """The caller has used up what one principal may do in a while."""

    code = "too-many-requests"
    zh = "操作过于频繁，请在 {seconds} 秒后再试"
    en = "too many requests: try again in {seconds} s"


class NotYet(LinliError):
    """A message whose like must come first; it is tried again, and parked if that does not come."""

    code = "not-yet"
    zh = "所需的前序消息尚未到达"
    en = "a message that must come first has not come"


class Unreadable(LinliError):
    """A message that no repetition will make understandable: it is parked with this reason."""

    code = "unreadable"
    zh = "消息无法识别：{reason}"
    en = "the message cannot be understood: {reason}"
