"""The text of a published run's README.md, as a template of jinja2; :mod:`fsar.sharing.card` fills it in."""

CARD = """\
---
license: {{ license | yaml }}
library_name: fsar
pipeline_tag: video-classification
tags:
- few-shot
- action-recognition
- video
- {{ method | lower | yaml }}
---

# {{ title | text }}

Names the action in a video clip, given one to a few clips of each action to choose from; the actions need not be among
those it was trained on. {% if trained %}{{ trained_weights }} weights of {{ method }}{% if metric %} with {{ metric }}\
{% endif %} were trained, on {{ classes | length }} classes of {{ benchmark | text }}.
{% else %}Nothing was trained: {{ method }}{% if metric %} with {{ metric }}{% endif %} compares what frozen weights
see.
{% endif %}

## Use

```python
import fsar
model = fsar.load({{ address }}{{ arguments }})
print(*model.predict({"waving": ["a.mp4"], "jumping": ["b.mp4"]}, ["query.mp4"]))
```

## What it needs

* fsar {{ versions.fsar }} or newer.
* The frozen weights it stands on, which are not part of it; sha256 over them all
  {{ facts.frozen_weights_sha256 | code }}, checked when it is loaded.
{% for part in frozen %}
  * {{ part.name | code }}: {{ part.model }}, {{ part.weights }}.
{% endfor %}
{% for key, name in files.items() %}
* The file {{ name | code }}, named by the option {{ ('--' ~ key) | code }}.
{% endfor %}
{% for name in foreign %}
* {{ name }}, which is code of its author and no part of fsar: {{ code }}. Read it, put it where Python finds it, and
  load with `trust_classes=True`.
{% endfor %}

## Results
{% if rows %}

| benchmark | split | setting | metric | inference | episodes | accuracy | class names alone |
|---|---|---|---|---|---|---|---|
{% for row in rows %}
| {{ row | map('text') | join(" | ") }} |
{% endfor %}

Accuracy in %, with its 95 % interval over episodes; "class names alone" is what the same episodes give without any
support clip (zero-shot), the floor that support clips have to beat. All of them were measured on these weights.
{% for warning in warnings %}

**{{ warning | text }}**
{% endfor %}
{% else %}

None: this run was not tested before it was published. `fsar test --run RUN` measures.
{% endif %}

## Protocol

{{ chosen }}
Test classes were touched by the tests alone. An episode is a pure function of seed and number, and every `results.json`
names the list of its episodes by hash.

## Provenance

| what | |
|---|---|
{% for name, value in provenance.items() %}
| {{ name }} | {{ value }} |
{% endfor %}

<details><summary>Configuration</summary>

{{ fence }}yaml
{{ recipe }}{{ fence }}

</details>
{% if trained %}

<details><summary>The {{ classes | length }} classes it was trained on</summary>

{{ classes | map('text') | join("; ") }}

</details>
{% endif %}

## Limits

It chooses among the classes it is shown, and takes a clip of none of them for the most similar one unless its threshold
("unlike all") says otherwise. How accurate it is on other videos than those of the table is not known: measure it on
yours. It looks at {{ frames }} frames of a clip, and inherits what its frozen weights have learned and failed to learn.
"""
