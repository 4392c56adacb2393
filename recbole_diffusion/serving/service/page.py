"""The service's pages: one to try it, one of its interface; nothing is fetched from elsewhere."""

import json
from collections.abc import Mapping
from typing import Any

import jinja2

# What a page may run and fetch.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)


def front_page() -> str:
    """Lists of a user or a history, in a browser."""
    return _template("front.html.jinja").render()


def interface_page(schema: Mapping[str, Any]) -> str:
    """The interface as OpenAPI tells it.

    Args:
        schema: Of the service.
    """
    return _template("interface.html.jinja").render(
        schema=schema, text=lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    )


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PrefixLoader(
            {
                "pages": jinja2.PackageLoader("recbole_diffusion", "pages"),
                "service": jinja2.PackageLoader("recbole_diffusion", "serving/service"),
            }
        ),
        # Styles and scripts are ours, and included as they are.
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"service/{name}")
