"""The page at /: what runs here, whether it is ready, and a first request to paste."""

import shlex
from html import escape
from string import Template

from common.colours import DEFECT_COLOUR, GOOD_COLOUR
from inspection.model_file import restriction
from inspection.predictor import Predictor

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow">
<link rel="icon" href="data:,">
<title>Casting inspection</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
pre { background: #8882; padding: .75rem 1rem; overflow-x: auto; border-radius: .25rem; }
th { text-align: left; font-weight: normal; padding-right: 1.5rem; vertical-align: top; }
.state { border-left: .3rem solid $colour; padding-left: .75rem; }
</style>
</head>
<body>
<h1>Casting inspection</h1>
<p>This service inspects photographs of parts. It records every decision before it answers.</p>
<p class="state">$state</p>
$model
<h2>A first request</h2>
<pre>$first</pre>
<p>A photograph of yours, in the place of <code>part.jpeg</code>:</p>
<pre>$photograph</pre>
<h2>Read on</h2>
<ul>
<li><a href="docs">All requests and answers</a>, to read and to try;
<a href="openapi.json">the same as an OpenAPI document</a></li>
<li><a href="readyz">Ready?</a> <a href="healthz">Alive?</a>
<a href="metrics">Figures for Prometheus</a>$metrics_note</li>
</ul>
</body>
</html>
""")
KEY = ' -H "X-API-Key: $CASTING_API_KEY"'
WITH_KEY = """<p>Photographs, model, log and figures are behind the service's key. The requests
below take it from the variable <code>CASTING_API_KEY</code> of your shell.</p>"""


def front_page(address: str, why_not_ready: str, predictor: Predictor | None) -> str:
    """The page as HTML.

    Args:
        address: under which the reader has reached the service, as 'http://127.0.0.1:8000'.
        why_not_ready: empty when parts are taken.
        predictor: what decides; None when only those with a key may know.
    """
    key = "" if predictor else KEY
    state = f"Not ready: {why_not_ready}." if why_not_ready else "Ready: photographs are taken."
    model, photograph = (shlex.quote(f"{address}/v1/{path}") for path in ("model", "predict"))
    return PAGE.substitute(
        colour=DEFECT_COLOUR if why_not_ready else GOOD_COLOUR,
        state=escape(state),
        model=model_table(predictor) if predictor else WITH_KEY,
        first=escape(f"curl{key} {model}"),
        photograph=escape(f"curl{key} -F file=@part.jpeg {photograph}"),
        metrics_note="" if predictor else " (with the key)",
    )


def model_table(predictor: Predictor) -> str:
    """What decides, in a few lines of HTML."""
    rule = f"defect from a probability of {predictor.threshold:.3g} on"
    if predictor.review:
        low, high = predictor.review
        rule += f"; a person decides from {low:.3g} to below {high:.3g}"
    lines = {
        "Model": predictor.model_id,
        "Classes": ", ".join(predictor.checkpoint.class_names),
        "Decision": rule,
        "Gate": "what is no sound photograph of a part is not judged" if predictor.limits
        else "none: every picture is judged",
    }  # fmt: skip
    if limit := restriction(predictor.checkpoint):
        lines["Use"] = limit
    rows = "\n".join(
        f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in lines.items()
    )
    return f"<table>\n{rows}\n</table>"
