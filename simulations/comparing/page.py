"""The page of a comparison, a Jinja template that extends the one of `simulations.reports.page`."""
# ruff: noqa: E501

import base64
import hashlib

SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1;
      heads.forEach((other) => (other.ariaSort = null));
      head.ariaSort = sign > 0 ? "ascending" : "descending";
      for (const body of table.tBodies) {
        const rows = [...body.querySelectorAll("tr:not(.cell)")];
        rows.sort((...pair) => {
          const [a, b] = pair.map((row) => row.cells[place].dataset.value);
          if (!a || !b) return !a - !b; // what is missing is last either way
          return sign * (a - b || a.localeCompare(b));
        });
        body.append(...rows);
      }
    });
  });
}
"""
"""Makes each heading a button that sorts the rows of every cell by its column.

Without it the tables are as they are written."""

SCRIPT_HASH = "sha256-" + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
"""By which the page's Content-Security-Policy lets this script run, and no other."""

PAGE = """\
{% extends "base" %}
{% from "parts" import folded, picture, table %}
{% block scripts %}; script-src '{{ script_hash }}'{% endblock %}
{% block style -%}
body { max-width: 76rem; }
.scroll { max-height: none; }
.picture { overflow-x: auto; }
.picture img { min-width: 44rem; }
th { white-space: normal; vertical-align: bottom; }
td:first-child, th:first-child, td.text, th.text { text-align: left; }
td:first-child, td.text { white-space: normal; overflow-wrap: anywhere; }
td:first-child { position: sticky; left: 0; min-width: 8.5rem; background: var(--page); }
td.text { min-width: 11rem; }
tr.cell th { position: static; white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th button::after { content: "\\a0↕"; color: var(--soft); font-weight: 400; }
th[aria-sort=ascending] button::after { content: "\\a0↑"; color: var(--accent); }
th[aria-sort=descending] button::after { content: "\\a0↓"; color: var(--accent); }
tr.baseline td { color: var(--soft); }
ul { padding-left: 1.2rem; }
li { margin: .35rem 0; }
@media print {
  th button { display: contents; } /* a button is not repeated on the next sheet */
  th button::after { display: none; }
  table { font-size: .65rem; }
  th, td { padding: .2rem .3rem; }
  td.text, td:first-child { position: static; min-width: 5rem; }
  .picture img { min-width: 0; }
}
{% endblock %}
{% block content -%}
{% for name, reason in failures %}
<p class="note">{{ name }} failed: {{ reason }}</p>
{% endfor %}
<h2>What it shows</h2>
<ul>
{% for sentence in sentences %}
<li>{{ sentence }}</li>
{% endfor %}
</ul>
{% for heading, (caption, image) in pictures.items() %}
<h2>{{ heading }}</h2>
<div class="picture" tabindex="0">{{ picture(heading, image) }}</div>
<p class="soft">{{ caption }}</p>
{% endfor %}
{% for heading, columns, cells in tables %}
<h2>{{ heading }}</h2>
{% call table(columns, {"verdict": "text"}) -%}
{% for cell, rows in cells %}
<tbody>
{% if cell %}<tr class="cell"><th scope="rowgroup" colspan="{{ columns | length }}">{{ cell }}</th></tr>{% endif %}
{% for is_baseline, values in rows %}
<tr{% if is_baseline %} class="baseline"{% endif %}>{% for shown, order in values %}<td data-value="{{ order }}"{% if columns[loop.index0] == "verdict" %} class="text"{% endif %}>{{ shown }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endfor %}
{% endcall %}
{% endfor %}
<h2>How to read it</h2>
<ul>
{% for note in notes %}
<li>{{ note }}</li>
{% endfor %}
</ul>
{% if tuned %}
{{ folded("What was tuned", tuned) }}
{% endif %}
{{ folded("Plan", plan) }}
<script>{{ script | safe }}</script>
{% endblock %}
"""
