"""The one family of errors. A constructor takes facts and words the message: what happened, what was expected, what to do."""

from collections.abc import Sequence


class OfferloopError(Exception):
    """Base of every error that Offerloop raises on purpose; its text is fit to be shown to a person."""


class SettingsError(OfferloopError):
    """A setting is unknown, of the wrong type or out of range."""

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(f"setting `{key}` is {value!r}; expected {expected}. Mend it in offerloop.toml or its OFFERLOOP_ variable.")
        self.key = key


class DefinitionError(OfferloopError):
    """A use case (features, catalogue, policy, gate) is written wrongly."""

    def __init__(self, where: str, what: str, mend: str) -> None:
        super().__init__(f"{where}: {what}. {mend}")


class InvalidInput(OfferloopError):
    """A request, row or file from outside breaks its contract."""

    def __init__(self, field: str, what: str, expected: str) -> None:
        super().__init__(f"`{field}` {what}; expected {expected}")
        self.field = field


class Conflict(OfferloopError):
    """An id that is already taken came again with other content."""

    def __init__(self, kind: str, identifier: str) -> None:
        super().__init__(f"{kind} `{identifier}` was accepted before with other content. Send new content under a new id.")


class NotFound(OfferloopError):
    """What was named does not exist here."""

    def __init__(self, kind: str, identifier: str, known: Sequence[str] = ()) -> None:
        hint = f" Known: {', '.join(known)}." if known else ""
        super().__init__(f"{kind} `{identifier}` is not known.{hint}")


class Unauthorized(OfferloopError):
    """No key, an unknown key, or a signature that does not hold."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}. Send the installation's key as `Authorization: Bearer KEY`.")


class Forbidden(OfferloopError):
    """A key that holds, but not for this."""

    def __init__(self, key: str, scope: str) -> None:
        super().__init__(f"key `{key}` has no scope `{scope}`. Make a key that has it.")


class SignatureRefused(Unauthorized):
    """A webhook whose signature does not hold, is stale, or was seen before."""

    def __init__(self, what: str) -> None:
        OfferloopError.__init__(
            self, f"a webhook {what}. Sign `id.timestamp.body` with the hook's secret, as standard-webhooks.com says, and send it at once."
        )


class TooLarge(OfferloopError):
    """A request is larger than is taken."""

    def __init__(self, what: str, limit: int, unit: str) -> None:
        super().__init__(f"{what} is larger than {limit} {unit}. Send it in parts.")


class StoreUnavailable(OfferloopError):
    """A record could not be made durable now; nothing of it was kept, and the caller may try again."""

    def __init__(self, store: str, cause: str) -> None:
        super().__init__(f"{store} cannot take a record now ({cause}). Nothing was kept; try again.")


class Unconfirmed(StoreUnavailable):
    """It is not known whether a record became durable; the same id will tell."""

    def __init__(self, store: str, waited_s: float) -> None:
        OfferloopError.__init__(
            self, f"{store} has not confirmed a record for {waited_s:.0f} s. It may have been kept: send it again with the same id."
        )


class RequestFailed(OfferloopError):
    """The API answered with a problem that asking again does not mend, or did not answer for as long as was waited.

    Attributes:
        status: the HTTP status; 0 when there was no answer.
        kind: what the problem's type ends with, such as `conflict` or `overloaded`; empty where the answer told none.
        field: the field that is to blame, where the answer names one.
        request_id: by which the service's log has it, where the answer names it.
        retry_after: what the answer's `Retry-After` says, where it has one.
    """

    retry_after: str | None = None

    def __init__(self, what: str, status: int, detail: str, field: str | None = None, kind: str = "", request_id: str = "") -> None:
        super().__init__(f"{what}: {f'status {status}: ' if status else ''}{detail}")
        self.status = status
        self.detail = detail
        self.field = field
        self.kind = kind
        self.request_id = request_id


class NotDelivered(OfferloopError):
    """Records that were given to be sent in the background, and were not.

    Attributes:
        records: they themselves, in the order they were given, to be sent again or kept elsewhere.
    """

    def __init__(self, records: Sequence[object], cause: str) -> None:
        super().__init__(f"{len(records)} records were not delivered: {cause}. They are in `records`; sending them again does no harm.")
        self.records = tuple(records)


class NotReady(OfferloopError):
    """Nothing can be answered yet; the caller may try again."""

    def __init__(self, what: str, waiting_for: str) -> None:
        super().__init__(f"{what} is not ready: {waiting_for}. Try again.")


class Overloaded(OfferloopError):
    """More is asked than can be answered now; nothing was done, and the caller may try again."""

    def __init__(self, under_way: int) -> None:
        super().__init__(f"{under_way} requests are under way, as many as are taken at once. Nothing was done; try again.")


class DeadlinePassed(OfferloopError):
    """A request waited for so long that its answer is worth nothing any more; nothing was done, and the caller may try again."""

    def __init__(self, waited_s: float, most_s: float) -> None:
        super().__init__(f"the request waited {waited_s:.1f} s, and {most_s:g} s is the most. Nothing was done; try again.")


class TooMany(OfferloopError):
    """A key asks for more than its share; others must not wait for it.

    Attributes:
        policy: the quota, as the header `RateLimit-Policy` says it.
        retry_after_s: when to ask again.
    """

    def __init__(self, key: str, limit: str, policy: str, retry_after_s: int = 1) -> None:
        super().__init__(f"key `{key}` {limit}. Nothing was done; ask again after {retry_after_s} s, and less at a time.")
        self.policy = policy
        self.retry_after_s = retry_after_s


class StaleFeatures(OfferloopError):
    """Nothing is decided, because a feature is older than it may be and declares that nothing is to be decided then."""

    def __init__(self, entity_id: str, names: Sequence[str]) -> None:
        super().__init__(
            f"no decision for entity `{entity_id}`: {', '.join(names)} older than `max_age`, and declared to refuse then. "
            "Send what they follow from, and try again."
        )
        self.names = tuple(names)


class StateRefused(OfferloopError):
    """The state folder is of another format or another kind of installation than the one asked for."""

    def __init__(self, folder: str, what: str, mend: str) -> None:
        super().__init__(f"state in {folder}: {what}. {mend}")


class BundleRefused(OfferloopError):
    """A release's bundle is not what its digest says, or cannot be served here."""

    def __init__(self, release_id: str, reason: str) -> None:
        super().__init__(f"bundle of release `{release_id}` refused: {reason}. The release that serves goes on.")
        self.reason = reason


class DataRefused(OfferloopError):
    """A data set breaks its schema or its sanity checks, so nothing is trained on it."""

    def __init__(self, what: str, reasons: Sequence[str]) -> None:
        super().__init__(f"{what} refused: " + "; ".join(reasons))
        self.reasons = tuple(reasons)


class NotCompiled(OfferloopError):
    """A model's scorer that cannot be compiled here; the library's own call goes on scoring."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The scorer is not compiled: {reason}. LightGBM's own call scores.")
        self.reason = reason


class StepRefused(OfferloopError):
    """A release cannot take the step that was asked for."""

    def __init__(self, release_id: str, step: str, reason: str) -> None:
        super().__init__(f"release `{release_id}` cannot {step}: {reason}")


class ServiceFailed(OfferloopError):
    """A process that the installation needs did not start, or died more often than is sane."""

    def __init__(self, service: str, what: str, log: str) -> None:
        super().__init__(f"service {service} {what}. Its log: {log}")


class PeerFailed(OfferloopError):
    """A server that is not part of the installation did not answer, or refused."""

    def __init__(self, peer: str, address: str, cause: str) -> None:
        super().__init__(f"{peer} at {address} did not do what was asked: {cause}. See that it runs there, and that the key is right.")


class ToolMissing(OfferloopError):
    """This machine lacks something; the message says how to get it."""

    def __init__(self, tool: str, install: str) -> None:
        super().__init__(f"{tool} is missing on this machine. Install it: {install}")


class NeedsOtherCode(BundleRefused):
    """A release that was made by other code than runs here, and that this code cannot serve as it was."""

    def __init__(self, release_id: str, what: str, revision: str, image: str) -> None:
        where = f"the image `{image}`" if image else f"revision `{revision}`" if revision else "the code that made it"
        super().__init__(release_id, f"needs other code: {what}. Redeploy {where}, then go back to it")
        self.revision = revision
        self.image = image
