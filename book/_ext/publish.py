"""What a published site has beside its pages: a page for wrong addresses, a sitemap, a card.

`CIRP_SITE` is the address at which the book will stand, such as https://someone.github.io/cirp/.
Without it there is no sitemap, and the page for wrong addresses links from the server's root.
"""

import os
from urllib.parse import urlsplit

from sphinx.errors import ExtensionError

DESCRIPTION = (
    "Why instruction-guided image editing changes what nobody asked for, and how remapping "
    "cross-attention stops it: an executable book on InstructPix2Pix."
)


def address() -> str:
    """Where the book will stand, ending in a slash; "" if nobody has said."""
    site = os.environ.get("CIRP_SITE", "").strip()
    if not site:
        return ""
    parts = urlsplit(site)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ExtensionError(f"CIRP_SITE={site!r}; give an address such as https://host/cirp/")
    return site.rstrip("/") + "/"


def configure(app, config) -> None:
    site = address()
    config.notfound_urls_prefix = urlsplit(site).path if site else "/"
    config.notfound_context = {
        "title": "Not here",
        "body": "<h1>Not here</h1><p>This book has no page of that address. The list at the "
        "left has all of them, and the search looks through them.</p>",
    }
    config.ogp_site_url = site
    config.ogp_site_name = config.html_title or config.project
    config.ogp_type = "book"
    config.ogp_image = f"{site}_images/01_one_edit.webp" if site else None
    config.ogp_image_alt = "One edit that succeeds and strays, beside what remap makes of it."
    config.ogp_social_cards = {"enable": False}  # one picture stands for all pages
    config.ogp_description_length = 200
    if site:
        config.html_baseurl = site
        config.sitemap_url_scheme = "{link}"
        config.sitemap_excludes = ["404.html", "search.html", "genindex.html"]


def setup(app):
    app.setup_extension("notfound.extension")
    app.setup_extension("sphinxext.opengraph")
    if address():
        app.setup_extension("sphinx_sitemap")
    app.connect("config-inited", configure, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
