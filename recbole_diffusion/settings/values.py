"""Values of settings: YAML that holds plain values, neither too deep nor too long."""

import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.events import CollectionEndEvent, CollectionStartEvent, NodeEvent

from recbole_diffusion.base.errors import UserError

# Beyond what any settings need; more takes minutes to read, or ends Python's stack.
MAX_DEPTH = 32
MAX_VALUES = 20_000
# Most bytes of a path, and of a name in it, on the usual file systems.
MAX_PATH, MAX_NAME = 4095, 255


class _PlainKeys:
    """Of a loader of PyYAML's: no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse what YAML forbids and PyYAML lets pass: the last of equal keys would win."""
        pairs = node.value if isinstance(node, yaml.MappingNode) else []  # else refused below
        seen: set[str] = set()
        for key in (key for key, _ in pairs if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            seen.add(key.value)
        found: dict[Any, Any] = super().construct_mapping(node, deep)  # type: ignore[misc]
        return found


class PropertyLoader(_PlainKeys, yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as RecBole's users write it, and no key stands twice."""

    n_values = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse what is deeper or longer than any settings."""
        self.n_values += 1
        self.depth += 1
        if self.depth > MAX_DEPTH or self.n_values > MAX_VALUES:
            limit = f"more than {MAX_DEPTH} levels" if self.depth > MAX_DEPTH else "too many values"
            raise ComposerError(None, None, limit, self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _FastLoader(_PlainKeys, yaml.CSafeLoader):
    """The same by libyaml, in a tenth of the time."""


def load_yaml(text: str) -> Any:
    """The value of a text, as ``PropertyLoader`` reads it.

    libyaml refuses some of what PyYAML takes, such as ``{a:{b: 1}}``: what it refuses, PyYAML reads
    or refuses in its words.

    Raises:
        yaml.YAMLError: Not YAML, or deeper or longer than any settings; or another of
            ``YAML_REFUSALS``.
    """
    try:
        _check_size(text)
        return _FastLoader(text).get_single_data()
    except (yaml.YAMLError, UnicodeError):
        return PropertyLoader(text).get_single_data()


def _check_size(text: str) -> None:
    """Before anything is composed, which has no limit of its own."""
    depth = n_values = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        n_values += isinstance(event, NodeEvent)
        if depth >= MAX_DEPTH or n_values > MAX_VALUES:
            raise yaml.YAMLError


# Numbers as people write them: YAML 1.1 has 1e-3 and -.5 for texts, 1:30 for 90 and 010 for 8.
NUMBERS = {
    "tag:yaml.org,2002:int": r"[-+]?(0|[1-9][\d_]*|0x[\da-fA-F_]+|0b[01_]+)",
    "tag:yaml.org,2002:float": (
        r"[-+]?((\d[\d_]*\.[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+"
        r"|\.(inf|Inf|INF))|\.(nan|NaN|NAN)"
    ),
}


def take_plain_numbers(kind: Any) -> None:
    """Let a loader or dumper of PyYAML's take just these forms for numbers."""
    kind.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag not in NUMBERS]
        for first, forms in kind.yaml_implicit_resolvers.items()
    }
    for tag, form in NUMBERS.items():
        kind.add_implicit_resolver(tag, re.compile(f"^({form})$"), list("-+0123456789."))


class PropertyDumper(yaml.SafeDumper):
    """Safe YAML that quotes a text which ``PropertyLoader`` would take for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write what stands twice twice."""
        return True


take_plain_numbers(PropertyLoader)
take_plain_numbers(_FastLoader)
take_plain_numbers(PropertyDumper)


def as_yaml(value: Any, **options: Any) -> str:
    """A plain value as YAML that ``PropertyLoader`` reads back.

    Args:
        value: Numbers, texts, lists and dicts.
        **options: Of ``yaml.dump``.
    """
    options = {"allow_unicode": True, **options}
    return str(yaml.dump(value, Dumper=PropertyDumper, **options))


# How PyYAML says that a text is not YAML, or that a number in it is none.
YAML_REFUSALS = (
    *(yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError),
    *(LookupError, AttributeError),
)


def parse_value(text: str, source: str) -> Any:
    """Parse one command-line value as YAML.

    Raises:
        UserError: Not valid YAML.
    """
    try:
        value = load_yaml(text)
    except YAML_REFUSALS as error:
        reason = " ".join(str(error).split())
        shown = text if len(text) <= 200 else f"{text[:200]}..."
        raise UserError(f"{source}: found {shown!r}, which is not valid YAML: {reason}") from error
    check_plain(source, value)
    return value


def check_plain(source: str, value: Any, path: tuple[str, ...] = (), depth: int = 0) -> int:
    """Check that a value is what a property file, a checkpoint and a message can hold.

    Args:
        source: File or command line, for the message; may be empty.
        value: Nested lists and dicts of numbers, texts, true, false and null.
        path: Keys that lead to the value.
        depth: Of the value in another one.

    Returns:
        How many values there are in it, itself among them.

    Raises:
        UserError: It is not, or is nested too deep, as a list that holds itself.
    """
    where = ": ".join([source] * bool(source) + [f"key `{'.'.join(path)}`"] * bool(path))
    if depth > MAX_DEPTH:
        raise UserError(f"{where}: found more than {MAX_DEPTH} levels, expected fewer")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UserError(f"{where}: found a number of more than 64 bits, expected a smaller one")
    if isinstance(value, str):
        check_text(where, value)
    elif isinstance(value, (list, tuple, dict)):
        keys = [(part, path) for part in value] if isinstance(value, dict) else []
        n_values = 1
        for part, at in (*keys, *_parts(value, path)):
            n_values += check_plain(source, part, at, depth + 1)
            if n_values > MAX_VALUES:
                raise UserError(f"{where}: found more than {MAX_VALUES} values, expected fewer")
        return n_values
    elif not isinstance(value, (bool, int, float, type(None))):
        raise UserError(
            f"{where}: found a {type(value).__name__}, expected numbers, texts, lists or dicts; "
            "quote a text that YAML takes for something else"
        )
    return 1


def _parts(value: Any, path: tuple[str, ...]) -> list[tuple[Any, tuple[str, ...]]]:
    """The values in a list or dict, each with the keys that lead to it."""
    if isinstance(value, dict):
        return [(part, (*path, str(key))) for key, part in value.items()]
    return [(part, path) for part in value]


def check_text(where: str, text: str) -> None:
    """Check that a text can be the path of a file, and can be written as UTF-8.

    Raises:
        UserError: It is too long for a path, as a whole or between slashes, or no Unicode.
    """
    try:
        lengths = [len(name.encode()) for name in text.split("/")]
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: found {text[:200]!r}, expected Unicode text") from error
    if max(lengths) > MAX_NAME or sum(lengths) + len(lengths) > MAX_PATH or "\0" in text:
        raise UserError(
            f"{where}: found {text[:40]!r}... of {len(text)} characters, expected at most "
            f"{MAX_NAME} bytes between slashes, {MAX_PATH} in all, none of them 0"
        )
