"""The page of a run's report, a Jinja template.

In a module, since a Flower app's bundle takes no other files than code and configs.
"""
# ruff: noqa: E501

STYLE = """\
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
"""
"""What the pages look like, light, dark and in print."""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }} – fedssl</title>
<style>
{{ style | safe }}</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="soft">{{ subtitle }}</p>
{% if unfinished %}<p class="note">{{ unfinished }}</p>{% endif %}
{% for caution in cautions %}<p class="note">Caution: {{ caution }}</p>{% endfor %}
<dl class="tiles">
{% for label, figure, note in headline %}
<div class="tile"><dt>{{ label }}</dt><dd class="figure">{{ figure }}</dd><dd class="about">{{ note }}</dd></div>
{% endfor %}
</dl>
{% for heading, image in pictures.items() %}
<h2>{{ heading }}</h2>
<img src="data:image/png;base64,{{ image }}" alt="{{ heading }}">
{% endfor %}
{% if numbered %}<p class="soft">{{ numbered }}</p>{% endif %}
<h2>Round by round</h2>
<div class="scroll" tabindex="0">
<table>
<thead><tr>{% for heading, _ in columns %}<th scope="col">{{ heading }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
{% set number = loop.index0 %}
<tr>{% for _, cells in columns %}<td>{{ cells[number] }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if failures %}
<h2>Clients that failed</h2>
{% if failures | length > most_failures %}<p class="soft">The last {{ most_failures }} of {{ failures | length }}; metrics.jsonl has them all.</p>{% endif %}
<div class="scroll" tabindex="0">
<table>
<thead><tr><th scope="col">Round</th><th scope="col">Client</th><th scope="col" class="words">Reason</th></tr></thead>
<tbody>
{% for round, client, reason in failures[-most_failures:] %}
<tr><td>{{ round }}</td><td>{{ client }}</td><td class="words">{{ reason }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
<details>
<summary>Config</summary>
<pre>{{ config }}</pre>
</details>
{% if summary %}
<details>
<summary>Summary</summary>
<pre>{{ summary | tojson(indent=2) }}</pre>
</details>
{% endif %}
</body>
</html>
"""
