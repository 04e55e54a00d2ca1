"""The page of a run's report, a Jinja template that extends the one of `simulations.reports.page`."""
# ruff: noqa: E501

PAGE = """\
{% extends "base" %}
{% from "parts" import folded, picture, table %}
{% block content -%}
{% for caution in cautions %}<p class="note">Caution: {{ caution }}</p>{% endfor %}
<dl class="tiles">
{% for label, figure, note in headline %}
<div class="tile"><dt>{{ label }}</dt><dd class="figure">{{ figure }}</dd><dd class="about">{{ note }}</dd></div>
{% endfor %}
</dl>
{% for heading, image in pictures.items() %}
<h2>{{ heading }}</h2>
{{ picture(heading, image) }}
{% endfor %}
{% if numbered %}<p class="soft">{{ numbered }}</p>{% endif %}
<h2>Round by round</h2>
{% call table(columns | map("first") | list) -%}
<tbody>
{% for row in rows %}
{% set number = loop.index0 %}
<tr>{% for _, cells in columns %}<td>{{ cells[number] }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
{% endcall %}
{% if failures %}
<h2>Clients that failed</h2>
{% if failures | length > most_failures %}<p class="soft">The last {{ most_failures }} of {{ failures | length }}; metrics.jsonl has them all.</p>{% endif %}
{% call table(["Round", "Client", "Reason"], {"Reason": "words"}) -%}
<tbody>
{% for round, client, reason in failures[-most_failures:] %}
<tr><td>{{ round }}</td><td>{{ client }}</td><td class="words">{{ reason }}</td></tr>
{% endfor %}
</tbody>
{% endcall %}
{% endif %}
{{ folded("Config", config) }}
{% if summary %}
{{ folded("Summary", summary | tojson(indent=2)) }}
{% endif %}
{% endblock %}
"""
