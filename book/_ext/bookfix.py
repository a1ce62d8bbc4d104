"""Keeps the pages of the book clean: no launcher scripts, and no script twice.

sphinx-thebe starts live kernels from a remote service; this book needs none, and its inline script,
which Sphinx is given twice, makes every page log an error.
"""


def drop_thebe_and_repeats(app, pagename, templatename, context, doctree):
    kept, seen = [], set()
    for script in context.get("script_files", []):
        name = str(getattr(script, "filename", script) or "")
        body = str(getattr(script, "attributes", {}).get("body") or "")
        if "thebe" in (name + body).lower() or (name, body) in seen:
            continue
        seen.add((name, body))
        kept.append(script)
    context["script_files"] = kept
    context["css_files"] = [
        style for style in context.get("css_files", []) if "thebe" not in str(style).lower()
    ]


def setup(app):
    app.connect("html-page-context", drop_thebe_and_repeats, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
