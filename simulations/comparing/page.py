"""The page of a comparison, a Jinja template."""
# ruff: noqa: E501

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }} – fedssl</title>
<style>
{{ style | safe }}body { max-width: 76rem; }
.scroll { max-height: none; }
td:first-child, th:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; min-width: 11rem; }
tr.cell td { background: var(--card); font-weight: 600; }
tr.baseline td { color: var(--soft); }
ul { padding-left: 1.2rem; }
li { margin: .35rem 0; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="soft">{{ subtitle }}</p>
{% if unfinished %}<p class="note">{{ unfinished }}</p>{% endif %}
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
<img src="data:image/png;base64,{{ image }}" alt="{{ heading }}">
<p class="soft">{{ caption }}</p>
{% endfor %}
{% for heading, columns, cells in tables %}
<h2>{{ heading }}</h2>
<div class="scroll" tabindex="0">
<table>
<thead><tr>{% for column in columns %}<th scope="col"{% if column == "verdict" %} class="text"{% endif %}>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{% for cell, rows in cells %}
{% if cell %}<tr class="cell"><td colspan="{{ columns | length }}">{{ cell }}</td></tr>{% endif %}
{% for is_baseline, values in rows %}
<tr{% if is_baseline %} class="baseline"{% endif %}>{% for value in values %}<td{% if columns[loop.index0] == "verdict" %} class="text"{% endif %}>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
{% endfor %}
</tbody>
</table>
</div>
{% endfor %}
<h2>How to read it</h2>
<ul>
{% for note in notes %}
<li>{{ note }}</li>
{% endfor %}
</ul>
{% if tuned %}
<details>
<summary>What was tuned</summary>
<pre>{{ tuned }}</pre>
</details>
{% endif %}
<details>
<summary>Plan</summary>
<pre>{{ plan }}</pre>
</details>
</body>
</html>
"""
