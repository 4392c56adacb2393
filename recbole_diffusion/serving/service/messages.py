"""What requests and answers hold, and the limits of requests."""

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from recbole_diffusion.base.errors import UserError
from recbole_diffusion.serving.service.settings import ServeSettings

Part = Literal["train", "validation", "test"]
PARTS: list[Part] = ["train", "validation", "test"]
# Of each request the fields with a limit: JSON schema's word for it, and its key.
LIMITS = {
    "RecommendRequest": {
        "users": ("maxItems", "max_lists"),
        "histories": ("maxProperties", "max_lists"),
        "items": ("maxItems", "max_candidates"),
        "k": ("maximum", "max_k"),
    },
    "SimilarRequest": {"items": ("maxItems", "max_lists"), "k": ("maximum", "max_k")},
}


def _encodable(text: str) -> str:
    text.encode()  # JSON can hold half of a pair of surrogates, which no answer can tell of
    return text


Text = Annotated[str, AfterValidator(_encodable)]


class Request(BaseModel):
    """What every request may hold; unknown fields and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Text | None = Field(None, description="A model that is served; the first by default.")

    @model_validator(mode="before")
    @classmethod
    def _are_fields(cls, values: Any) -> Any:
        """Name the field that was meant by one of nearly its name."""
        for name in values if isinstance(values, dict) else ():
            near = get_close_matches(str(name)[:50], cls.model_fields, n=1, cutoff=0.7)
            if name not in cls.model_fields and near:
                raise ValueError(f"found the field {name[:50]!r}, expected {near[0]!r}")
        return values


class RecommendRequest(Request):
    """Lists for users of the data, or for histories of others."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"histories": {"ann": ["50", "181"]}, "k": 5}]}
    )

    users: list[Text] | None = Field(None, description="Ids; one list each.")
    histories: dict[Text, list[Text]] | None = Field(
        None, description="Items by any name, in the order of time; in place of users."
    )
    k: int = Field(10, ge=1, description="Items of a list; fewer where fewer are left.")
    items: list[Text] | None = Field(None, description="Candidates; all by default.")
    where: dict[Text, Text | list[Text]] | None = Field(
        None, description="Values that columns of the item file must have, one of a list."
    )
    columns: list[Text] = Field([], description="Of the item file, to stand beside each item.")
    exclude: list[Part] = Field(PARTS, description="Parts of the data whose items are left out.")

    @model_validator(mode="after")
    def _are_users_or_histories(self) -> "RecommendRequest":
        if (self.users is None) == (self.histories is None):
            raise ValueError("expected users or histories, one of them")
        return self


class SimilarRequest(Request):
    """The nearest items of some items."""

    items: list[Text] = Field(description="Ids; one list each.")
    k: int = Field(10, ge=1, description="Items of a list.")
    columns: list[Text] = Field([], description="Of the item file, to stand beside each item.")


class ExplainRequest(Request):
    """What a user's items have to do with the score of another item."""

    user: Text
    item: Text


class Unknown(BaseModel):
    """Ids of a request that are not in the data."""

    count: int
    ids: list[str]


class Entry(BaseModel):
    """An item of a list."""

    item: str
    score: float
    columns: dict[str, str]


class UserList(BaseModel):
    """The best items of a user, the best first."""

    user: str
    items: list[Entry]


class ItemList(BaseModel):
    """The nearest items of an item, the nearest first."""

    item: str
    items: list[Entry]


class Answer(BaseModel):
    """What every answer of a model tells of it."""

    model: str
    digest: str = Field(description="Equal for the same weights on the same data.")


class RecommendAnswer(Answer):
    """A list for each known user or each history that holds a known item."""

    lists: list[UserList]
    unknown_users: Unknown
    unknown_items: Unknown


class SimilarAnswer(Answer):
    """A list for each known item."""

    lists: list[ItemList]
    unknown_items: Unknown


class Share(BaseModel):
    """What an item of the history has to do with the score."""

    item: str
    value: float


class ExplainAnswer(Answer):
    """Shares, the greatest first."""

    kind: Literal["contribution", "loss", "cosine"]
    shares: list[Share]


class ModelState(BaseModel):
    """A model that is served."""

    name: str
    digest: str
    users: int
    items: int
    columns: list[str]
    has_pictures: bool
    loaded: float = Field(description="When, in seconds since 1970.")
    reload_failed: bool = Field(description="Whether a newer folder could not be loaded.")


class Health(BaseModel):
    """What the service serves."""

    status: Literal["ok"]
    version: str
    models: list[ModelState]


class Problem(BaseModel):
    """Why a request is refused."""

    detail: str


def check_limits(request: Request, settings: ServeSettings) -> None:
    """Refuse a request that asks for more than a request may.

    Raises:
        UserError: It names the field, what was found, and the key of the limit.
    """
    for field, (_, key) in LIMITS[type(request).__name__].items():
        value = getattr(request, field)
        size = value if isinstance(value, int) else len(value or ())
        _at_most(field, size, key, settings)
    for name, history in (getattr(request, "histories", None) or {}).items():
        _at_most(f"history of {name!r:.200}", len(history), "max_history", settings)


def _at_most(what: str, found: int, key: str, settings: ServeSettings) -> None:
    most = getattr(settings, key)
    if found > most:
        raise UserError(f"{what}: found {found}, expected at most {most} (key `{key}`)")


def put_limits(schema: dict[str, Any], settings: ServeSettings) -> None:
    """Write the limits into an OpenAPI schema.

    Args:
        schema: Of the service; changed in place.
        settings: Its limits.
    """
    components = schema["components"]["schemas"]
    for name, fields in LIMITS.items():
        for field, (word, key) in fields.items():
            _plain(components[name]["properties"][field])[word] = getattr(settings, key)
    histories = _plain(components["RecommendRequest"]["properties"]["histories"])
    histories["additionalProperties"]["maxItems"] = settings.max_history


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a schema that also takes null the other part."""
    found: dict[str, Any] = schema.get("anyOf", [schema])[0]
    return found
