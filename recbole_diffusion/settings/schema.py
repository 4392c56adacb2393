"""Typed keys of settings: the default, range, meaning and symbol of each, written once.

Property files (``settings.writing``), checks, ``--help`` and editors' schema are made of them.
"""

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from recbole_diffusion.settings.kinds import BASE, Kind, or_null

# Such as ">= 0", "[0, 1)" or "1..200"; an end that is no number is another key's value.
BOUND = re.compile(r"(>=|>) *(\S+)")
INTERVAL = re.compile(r"([(\[])(\S+), *(\S+)([)\]])")
RANGE = re.compile(r"(\S+)\.\.(\S+)")
TYPES = {bool: "bool", int: "int", float: "float", str: "str", dict: "dict"}


@dataclass(frozen=True)
class Key:
    """What is known of a key.

    Attributes:
        default: Its value where nobody sets it.
        kind: What values it takes.
        form: Type and range as property files tell them, such as "float in [0, 1)".
        meaning: What it does, with its symbol; may be empty.
        section: Title of the section that begins with it; empty within one.
    """

    default: Any
    kind: Kind
    form: str
    meaning: str
    section: str


@dataclass(frozen=True)
class _Field:
    default: Any
    meaning: str
    within: str
    kind: Kind | None
    form: str
    section: str


def key(
    default: Any,
    meaning: str = "",
    within: str = "",
    kind: Kind | None = None,
    form: str = "",
    section: str = "",
) -> Any:
    """An annotated attribute of ``Settings``.

    Args:
        default: Its value where nobody sets it.
        meaning: What it does, with its symbol.
        within: Range of a number, or of those in a list.
        kind: In place of the one that annotation and range make.
        form: In place of the text that they make.
        section: Title of the section that begins with it.
    """
    return _Field(default, meaning, within, kind, form, section)


class Settings:
    """Keys of a model, or of a run, as typed attributes.

    A subclass annotates attributes made by ``key``, and names other defaults of its bases' keys by
    ``class Sub(Base, defaults={"epochs": 100})``.

    Args:
        values: Of all keys, such as a run's settings.
    """

    _defaults: Mapping[str, Any] = {}

    def __init_subclass__(cls, defaults: Mapping[str, Any] = types.MappingProxyType({})) -> None:
        cls._defaults = defaults

    def __init__(self, values: Mapping[str, Any]) -> None:
        for name in self.keys():
            setattr(self, name, values[name])

    @classmethod
    @cache
    def keys(cls) -> dict[str, Key]:
        """What is known of each key, those of base classes first."""
        hints = typing.get_type_hints(cls)
        fields: dict[str, _Field] = {}
        defaults: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            declared = {
                name: replace(f, section=f.section or fields.get(name, f).section)
                for name, f in vars(base).items()
                if isinstance(f, _Field)
            }
            fields |= declared
            defaults |= {name: field.default for name, field in declared.items()}
            defaults |= vars(base).get("_defaults", {})
        return {name: _key(field, hints[name], defaults[name]) for name, field in fields.items()}


def kinds_of(settings: type[Settings]) -> dict[str, Kind]:
    """What values each key takes."""
    return {name: found.kind for name, found in settings.keys().items()}


def _key(field: _Field, hint: Any, default: Any) -> Key:
    kind = field.kind or _kind(hint, field)
    return Key(default, kind, field.form or _form(hint, field), field.meaning, field.section)


def _kind(hint: Any, field: _Field) -> Kind:
    plain = _without_null(hint)
    if typing.get_origin(plain) is list:
        (entry,) = typing.get_args(plain)
        kind = Kind((list,), each=_plain_kind(entry, field))
    else:
        kind = _plain_kind(plain, field)
    return kind if plain is hint else or_null(kind)


def _without_null(hint: Any) -> Any:
    """Of ``X | None`` the X; another annotation as it is."""
    parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (plain,) = (part for part in parts if part is not type(None))
    return plain


def _plain_kind(plain: Any, field: _Field) -> Kind:
    if typing.get_origin(plain) is Literal:
        return Kind((str,), choices=typing.get_args(plain))
    if plain is Any:
        return Kind((bool, int, float, str, list, dict))
    if plain is str:
        return Kind((str,))
    if plain is dict:
        return Kind((dict,))
    ends = _ends(field.within)
    if plain is int and ends.pop("is_open_at_least", False):
        ends["least"] += 1
    return Kind(BASE[plain].types, **ends)


def _ends(within: str) -> dict[str, Any]:
    """Ends of a range, as ``Kind`` takes them."""
    bound, interval, whole = (form.fullmatch(within) for form in (BOUND, INTERVAL, RANGE))
    if bound:
        return _end("least", bound[2], bound[1] == ">")
    if interval:
        return _end("least", interval[2], interval[1] == "(") | _end(
            "most", interval[3], interval[4] == ")"
        )
    if whole:
        return _end("least", whole[1], False) | _end("most", whole[2], False)
    if within:
        raise ValueError(f"found range {within!r}, expected such as '>= 0', '[0, 1)' or '1..9'")
    return {}


def _end(name: str, text: str, is_open: bool) -> dict[str, Any]:
    base, _, power = text.partition("^")
    try:
        value = float(base) ** float(power) if power else float(base)
    except ValueError:
        return {}  # another key's value, which the model checks
    value = int(value) if value.is_integer() else value
    return {name: value, **({f"is_open_at_{name}": True} if is_open else {})}


def _form(hint: Any, field: _Field) -> str:
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    if field.kind is not None and field.kind.choices:
        choices = field.kind.choices
    if choices:
        return " | ".join(choices)
    plain = _without_null(hint)
    if typing.get_origin(plain) is list:
        (entry,) = typing.get_args(plain)
        return f"list of {TYPES[entry]}" + _range_text(field.within)
    return TYPES.get(plain, "") + _range_text(field.within)


def _range_text(within: str) -> str:
    if not within:
        return ""
    return f" {within}" if BOUND.fullmatch(within) else f" in {within}"
