"""How runs were made, in lines for the foot of a report."""

from collections.abc import Iterable
from typing import Any

from jaxteach.reports.curves import RunCurves
from jaxteach.runs.sessions import read_sessions

SHOWN = ("jaxteach", "jax", "jaxlib")
SHOWN_OF_A_DIGEST = 12


def provenance(runs: Iterable[RunCurves]) -> list[str]:
    """A line for each way in which runs were made: versions, device, processor, revision, plug-ins and plans."""
    names: dict[str, list[str]] = {}
    for run in runs:
        sessions = read_sessions(run.folder)
        ways = dict.fromkeys(_way(session) for session in sessions) or {"not recorded": None}
        plans = f"plans {run.config.teacher.plans}" if run.config.taught else "no teacher"
        digest = f" with SHA-256 {run.plans[:SHOWN_OF_A_DIGEST]}" if run.plans else ""
        names.setdefault(f"{', then '.join(ways)}; {plans}{digest}", []).append(run.name)
    return [f"{', '.join(dict.fromkeys(those))}: {way}" for way, those in names.items()]


def _way(session: dict[str, Any]) -> str:
    """What a session was trained with; older ones say less."""
    versions = session.get("versions") or {"jax": session.get("jax")}
    parts = [f"{name} {versions[name]}" for name in SHOWN if versions.get(name)]
    if session.get("revision"):
        parts.append(f"revision {session['revision']}")
    if session.get("python"):
        parts.append(f"Python {session['python']}")
    parts += [f"{session.get('devices', 1)} x {session.get('device', session.get('platform'))}"]
    if session.get("processor"):
        parts.append(f"{session['processor']}, {session.get('cores')} cores")
    if session.get("plugins"):
        parts.append(f"imports {', '.join(session['plugins'])}")
    return ", ".join(parts)
