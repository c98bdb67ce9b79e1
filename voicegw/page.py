"""Pages for people: how to call, who is calling, what was said. HTML with its style and script inside.

Everything a caller can influence goes through `html.escape`; the content security policy names the two
hashes of our own style and script and allows nothing else.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from voicegw.livecalls import LiveCall

_DATA = files("voicegw") / "data"
_STYLE = (_DATA / "page.css").read_text(encoding="utf-8")
_SCRIPT = (_DATA / "page.js").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; "
    "media-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def index(
    health: Mapping[str, Any], sip_uri: str, live: Sequence[LiveCall], recent: Sequence[Mapping[str, Any]]
) -> str:
    """All calls, and how to make one."""
    uri = escape(sip_uri)
    return _page(
        "voicegw",
        f"""<p id="state" data-fresh role="status">{_state(health, len(live))}</p>
<h2 id="how">Call it</h2>
<p>From the browser, with the <a href="/">softphone</a>.</p>
<p>With a softphone (Linphone, Baresip, Zoiper) on this machine, no account needed: <code>{uri}</code></p>
<p>Without one, from a terminal:</p>
<pre tabindex="0">voicegw call {uri} --say "I would like to book an appointment"</pre>
<section id="live" data-fresh aria-labelledby="live-title">{_live(live)}</section>
<section id="recent" data-fresh aria-labelledby="recent-title">{_recent(recent)}</section>
<p class="soft"><a href="/health">Health</a> · <a href="/metrics">Metrics</a> ·
<a href="/api/calls">Calls as JSON</a></p>
<script>{_SCRIPT}</script>""",
    )


def call(found: Mapping[str, Any]) -> str:
    """One call: who, when, what was said, and how it sounded."""
    link = _link(found)
    turns = "".join(_turn(turn) for turn in found.get("turns", ()))
    player = f"""<h2>Recording</h2>
<audio controls preload="metadata" src="{link}/recording" aria-label="Recording of the call"></audio>
<p class="soft">Caller on the left, bot on the right. <a href="{link}/recording" download>Download</a></p>"""
    return _page(
        f"Call from {found.get('from', '')}",
        f"""<p><a href="/calls">All calls</a></p>
<dl>{_facts(found)}</dl>
{player if found.get("recording") else '<p class="soft">There is no recording.</p>'}
<h2>Conversation</h2>
<ol class="turns">{turns or '<li class="soft">Nothing was said.</li>'}</ol>
<p><a href="{link}/timeline">Timeline as JSON lines</a> · <a href="{link}">Call as JSON</a></p>""",
    )


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>{_STYLE}</style></head>
<body><a class="skip" href="#main">Skip to content</a>
<header><h1>{escape(title)}</h1></header><main id="main">
{body}
</main></body></html>
"""


def _state(health: Mapping[str, Any], calls: int) -> str:
    status = str(health["status"])
    words = (
        "No calls in progress"
        if not calls
        else "1 call in progress"
        if calls == 1
        else f"{calls} calls in progress"
    )
    faults = [f"{name}: {fault}" for name, fault in health["checks"].items() if fault != "ok"]
    tail = f' <span class="bad">{escape("; ".join(faults))}</span>' if faults else ""
    return (
        f"Version {escape(str(health['version']))}, status <strong>{escape(status)}</strong>. {words}.{tail}"
    )


def _live(live: Sequence[LiveCall]) -> str:
    rows = [(c.info.caller, c.info.callee, c.flow, c.state) for c in live]
    head = '<h2 id="live-title">Calls in progress</h2>'
    if not rows:
        return head + '<p class="soft">None.</p>'
    cells = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return head + _table("Calls in progress", ("From", "To", "Flow", "State"), cells)


def _recent(recent: Sequence[Mapping[str, Any]]) -> str:
    head = '<h2 id="recent-title">Last calls</h2>'
    if not recent:
        return head + '<p class="soft">Nobody has called yet.</p>'
    rows = "".join(_recent_row(found) for found in recent)
    columns = ("Started", "From", "To", "State", "Cause", "Details")
    return head + _table("Newest first", columns, rows)


def _recent_row(found: Mapping[str, Any]) -> str:
    link = _link(found)
    started = str(found.get("started_at") or "")
    shown = escape(started[:19].replace("T", " "))
    name = escape(f"call from {found.get('from', '')} at {started}")
    page_link = "/calls/" + quote(str(found["id"]), safe="")
    links = [f'<a href="{page_link}" aria-label="Conversation of {name}">Conversation</a>']
    if found.get("recording"):
        links.append(f'<a href="{link}/recording" aria-label="Recording of {name}">Recording</a>')
    links.append(f'<a href="{link}/timeline" aria-label="Timeline of {name}">Timeline</a>')
    cells = [
        f'<td class="number"><time datetime="{escape(started)}">{shown}</time></td>',
    ]
    cells += [f"<td>{escape(str(found.get(key) or ''))}</td>" for key in ("from", "to", "state", "cause")]
    return f"<tr>{''.join(cells)}<td>{' · '.join(links)}</td></tr>"


def _table(caption: str, columns: Sequence[str], rows: str) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _link(found: Mapping[str, Any]) -> str:
    return "/api/calls/" + quote(str(found["id"]), safe="")


def _facts(found: Mapping[str, Any]) -> str:
    names = {
        "id": "Call",
        "direction": "Direction",
        "from": "From",
        "to": "To",
        "state": "State",
        "cause": "Cause",
        "started_at": "Started",
        "answered_at": "Answered",
        "ended_at": "Ended",
    }
    pairs = ((label, str(found.get(key) or "")) for key, label in names.items())
    return "".join(
        f"<dt><strong>{label}</strong></dt><dd>{escape(value)}</dd>" for label, value in pairs if value
    )


def _turn(turn: Mapping[str, Any]) -> str:
    role = "bot" if turn.get("role") == "bot" else "caller"
    said = str(turn.get("text") or "")
    notes = [f"{float(turn.get('at_ms') or 0) / 1000:.1f} s"]
    if role == "bot" and turn.get("heard") is not None and turn["heard"] != said:
        notes.append(f"heard only: {turn['heard']}")
    total = (turn.get("latency_ms") or {}).get("total")
    if total is not None:
        notes.append(f"answered after {float(total):.0f} ms")
    text = escape(said) or "<em>not understood</em>"
    return (
        f'<li class="{role}"><p class="soft">{role.title()}, {escape(", ".join(notes))}</p><p>{text}</p></li>'
    )
