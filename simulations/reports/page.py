"""The Jinja template that the pages of runs and of comparisons extend.

In a module, since a Flower app's bundle takes no other files than code and configs.
"""
# ruff: noqa: E501

from jinja2 import DictLoader, Environment, StrictUndefined

_BASE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'{% block scripts %}{% endblock %}">
<title>{{ title }} – fedssl</title>
<style>
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --page: #fff; --card: #f4f6f8; --line: #d5dbe1; --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaef; --soft: #9aa5b1; --page: #14171b; --card: #1e2329; --line: #363d45; --accent: #6cb8e8; }
}
body { margin: 0 auto; max-width: 64rem; padding: 2rem 1.25rem 4rem; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.8rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; }
.soft { color: var(--soft); margin: .25rem 0 0; }
.note { border-left: 4px solid #d55e00; background: var(--card); padding: .6rem 1rem; margin: 1.25rem 0 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; }
.tile dt { color: var(--soft); font-size: .85rem; }
.tile dd { margin: 0; }
.tile .figure { font-size: 1.7rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile .about { color: var(--soft); font-size: .85rem; }
.tile:first-child .figure { color: var(--accent); }
img { display: block; width: 100%; background: #fff; border: 1px solid var(--line); border-radius: .5rem; box-sizing: border-box; padding: .5rem; }
.scroll { overflow: auto; max-height: 32rem; border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; }
th { position: sticky; top: 0; background: var(--card); font-weight: 600; }
.words { text-align: left; white-space: normal; overflow-wrap: anywhere; width: 100%; }
tbody tr { border-top: 1px solid var(--line); }
details { margin-top: 2.5rem; }
summary { cursor: pointer; font-size: 1.2rem; font-weight: 600; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; overflow: auto; font-size: .85rem; }
@media print { .scroll { max-height: none; overflow: visible; } th { position: static; } img, .tile, tr { break-inside: avoid; } h2 { break-after: avoid; } }
{% block style %}{% endblock %}</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="soft">{{ subtitle }}</p>
{% if unfinished %}<p class="note">{{ unfinished }}</p>{% endif %}
{% block content %}{% endblock %}</body>
</html>
"""

_PARTS = """\
{% macro picture(heading, image) %}<img src="data:image/png;base64,{{ image }}" alt="{{ heading }}">{% endmacro %}
{% macro table(columns, classes={}) -%}
<div class="scroll" tabindex="0">
<table>
<thead><tr>{% for column in columns %}<th scope="col"{% if column in classes %} class="{{ classes[column] }}"{% endif %}>{{ column }}</th>{% endfor %}</tr></thead>
{{ caller() }}</table>
</div>
{%- endmacro %}
{% macro folded(heading, text) -%}
<details>
<summary>{{ heading }}</summary>
<pre>{{ text }}</pre>
</details>
{%- endmacro %}
"""


def render_page(template: str, **values: object) -> str:
    """Return a page as HTML.

    Parameters
    ----------
    template : str
        Jinja that begins with ``{% extends "base" %}``, fills the blocks ``scripts`` (of the
        Content-Security-Policy), ``style`` and ``content``, and may import the macros of "parts".
    **values : object
        What it shows; ``title``, ``subtitle`` and ``unfinished`` are on every page.
    """
    templates = {"base": _BASE, "parts": _PARTS, "page": template}
    environment = Environment(
        loader=DictLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("page").render(values)
