"""Keys of the command ``serve``."""

from recbole_diffusion.settings.kinds import TEXT, Kind
from recbole_diffusion.settings.schema import Settings, key


class ServeSettings(Settings):
    """Keys of the command `serve`; docs/serve.md explains them."""

    host: str = key("127.0.0.1", "address to listen on; 0.0.0.0 is every one", kind=TEXT)
    port: int = key(8000, "0: a free one, which the log tells", within="0..65535")
    max_lists: int = key(256, "users, histories or items that a request names", within="1..2^20")
    max_history: int = key(1000, "items of a history", within="1..2^20")
    max_k: int = key(200, "items of a list", within="1..2^20")
    max_candidates: int = key(10_000, "candidates that a request names", within="1..2^30")
    max_bytes: int = key(2**20, "of a request's body", within="1..2^30")
    max_requests: int = key(64, "answered at once; others get 503", within="1..2^16")
    reload_seconds: float = key(
        10.0, "between looks for a newer folder; 0: never", kind=Kind((int, float), 0, 1e6),
        form="float >= 0",
    )  # fmt: skip
    pictures: str | None = key(None, "folder of pictures of items")
    picture_column: str = key(
        "image", "of the .item file: a path below that folder, or a URL; where the item file has "
        "no such column, files are named by item ids", kind=TEXT,
    )  # fmt: skip
