"""However administrators appoint each other, nobody gets more than the one who appointed them had."""

from contextlib import suppress
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from identity.commands import Appointment, appoint, appoint_first
from identity.domain import Author
from identity.load import load_divisions
from linli.access import Actor, Caller, Post
from linli.errors import LinliError
from tests.fakes_identity import FakeAccounts, FakeDivisions, anhui
from tests.support import NOW

REGISTRY = anhui("340104002", "340103001", "341002001", "341102001")
ROWS = [row for row in REGISTRY if row.level <= 4 or row.code == "340104002003"]
AREAS = st.sampled_from([row.code for row in ROWS] + ["340104002003001", "340104002004001", "35", "341000"])
SUBJECTS = st.sampled_from(["first", "a", "b", "c", "d"])
POSTS = st.sampled_from(["p-first", "p-1", "p-2", "p-3", "p-4"])


class Grants(RuleBasedStateMachine):
    @initialize()
    def province(self) -> None:
        self.now, self.keys = NOW, 0
        self.divisions, self.accounts = FakeDivisions(), FakeAccounts()
        load_divisions(self.divisions, ROWS, workers=1)
        first = Appointment("p-first", "administrator", "34", "first")
        options = {"accounts": self.accounts, "divisions": self.divisions, "clock": self.clock}
        appoint_first(first, author=Author("operator", None, "r"), **options)
        self.granted_by: dict[str, tuple[str, ...]] = {"p-first": ("34",)}

    def clock(self) -> datetime:
        return self.now

    def actors(self, subject: str) -> list[Actor]:
        account = self.accounts.account(subject)
        held = account.posts_at(self.now) if account else ()
        posts = tuple(Post(one.post_id, one.role, one.path) for one in held)
        return [Caller(subject, posts).acting(post.post_id) for post in posts] or [Caller(subject).acting(None)]

    @rule(by=SUBJECTS, post=POSTS, area=AREAS, to=SUBJECTS, days=st.sampled_from([None, 1, 30]),
          role=st.sampled_from(["administrator", "administrator", "duty_officer", "grid_worker"]))  # fmt: skip
    def try_to_appoint(self, by: str, post: str, area: str, to: str, days: int | None, role: str) -> None:
        self.keys += 1
        wanted = Appointment(post, role, area, to, self.now + timedelta(days=days) if days else None)
        for number, actor in enumerate(self.actors(by)):
            options = {"accounts": self.accounts, "divisions": self.divisions, "clock": self.clock}
            with suppress(LinliError):
                appoint(wanted, actor=actor, key=f"key-{self.keys}-{number}", correlation_id="r", **options)
                assert actor.post and actor.post.role == "administrator"
                assert actor.subject != to
                self.granted_by[post] = actor.post.path

    @rule(days=st.integers(0, 20))
    def time_passes(self, days: int) -> None:
        self.now += timedelta(days=days, seconds=1)

    @invariant()
    def no_post_is_wider_than_its_grantors(self) -> None:
        for post_id, grantor in getattr(self, "granted_by", {}).items():
            post = self.accounts.post(post_id)
            assert post and post.path[: len(grantor)] == grantor

    @invariant()
    def every_post_has_one_holder(self) -> None:
        if not hasattr(self, "accounts"):
            return
        held = [
            one.post_id
            for subject in ("first", "a", "b", "c", "d")
            for account in [self.accounts.account(subject)]
            if account
            for one in account.posts_at(self.now)
        ]
        assert len(held) == len(set(held))


TestGrants = Grants.TestCase
TestGrants.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
