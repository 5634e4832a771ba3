"""From the measurements to what is kept of them: one JSON file, and the page of the docs that shows it.

summary.py collect FOLDER     results of bench.py -> bench/results/peers.json (medians over rounds), then the page
summary.py page               bench/results/*.json -> docs/reference/measurements.md
"""
import collections
import json
import os
import platform
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.dirname(HERE))
import documents_page  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
KEPT = os.path.join(ROOT, "bench", "results", "peers.json")
PAGE = os.path.join(ROOT, "docs", "reference", "measurements.md")
ORDER = ["gristmill-redis", "gristmill-redis-inline", "gristmill", "gristmill-inline", "huey", "dramatiq", "taskiq", "arq",
         "docket", "streaq", "celery", "saq", "rq", "procrastinate", "huey-sqlite", "floor"]
NAMES = {"gristmill-redis": "Gristmill, Redis, runners", "gristmill-redis-inline": "Gristmill, Redis, inline",
         "gristmill": "Gristmill, SQLite, runners", "gristmill-inline": "Gristmill, SQLite, inline"}
PACKAGES = {"celery": "celery", "dramatiq": "dramatiq", "taskiq": "taskiq-redis", "streaq": "streaq", "docket": "pydocket",
            "arq": "arq", "saq": "saq", "rq": "rq", "huey": "huey", "floor": "redis"}
NUMBERS = {
    "drain": ("per_s", "cpu_ms_task", "redis_cmds_task", "redis_cpu_ms_task", "first_task_s", "rss_mb", "n", "done"),
    "latency": ("submit_p50", "start_p50", "start_p99", "result_p50", "result_p99"),
    "io": ("over", "wall_s", "cpu_ms_task", "redis_cmds_task"),
    "idle": ("rss_mb", "pss_mb", "procs", "start_s", "idle_cpu_pct", "idle_redis_cmds_s"),
    "enqueue": ("per_s",),
}
KEYS = {"drain": "role", "latency": "role", "idle": "role", "enqueue": "mode", "io": None}


# ------------------------------------------------------------------ collecting
def rows(folder, verb):
    path = os.path.join(folder, verb + ".jsonl")
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line) for line in f]


def medians(found, names):
    out = {}
    for name in names:
        values = [r[name] for r in found if isinstance(r.get(name), (int, float))]
        if values:
            out[name] = round(statistics.median(values), 4)
    return out


def collect(folder):
    systems = collections.defaultdict(lambda: collections.defaultdict(dict))
    loads, failed = [], []
    for verb, names in NUMBERS.items():
        groups = collections.defaultdict(list)
        for r in rows(folder, verb):
            loads.append(r["load"])
            if "error" in r:
                failed.append({"verb": verb, "system": r["system"], "error": r["error"][-200:]})
            else:
                groups[r["system"], r.get(KEYS[verb]) if KEYS[verb] else None].append(r)
        for (system, key), found in groups.items():
            numbers = dict(medians(found, names), rounds=len(found))
            if key is None:
                systems[system][verb] = numbers
            else:
                systems[system][verb][key] = numbers
    kept = {
        "what": "no-op tasks with results kept, on one Redis; medians over the rounds; CPU of all worker processes, start-up included",
        "machine": machine(loads),
        "versions": versions(systems),
        "systems": systems,
        "deaths": [pick(r, "system", "role", "sig", "only_child", "opt", "exit_after_s", "redelivered_after_s", "watched_s", "error")
                   for r in rows(folder, "kill")],
        "longer_than_lease": [pick(r, "label", "task", "secs", "starts", "at_once", "error") for r in rows(folder, "duplicate")],
        "poison": [pick(nameless(r), "label", "starts", "watch", "dead", "error") for r in rows(folder, "poison")],
        "limits": [pick(r, "label", "kind", "exc", "process_gone_s", "after_s", "neighbour_gap_s", "starts", "error")
                   for r in rows(folder, "limits")],
        "failed": failed,
    }
    kept["bars"] = bars(kept)
    with open(KEPT, "w") as f:
        json.dump(kept, f, indent=1, sort_keys=True)
        f.write("\n")


def nameless(row):
    """Without the names of workers, which are made of the host's."""
    return dict(row, dead=[(n, state, re.sub(r"worker \S+", "its worker", error)) for n, state, error in row.get("dead") or []])


def pick(row, *names):
    return {name: row[name][-200:] if name == "error" else row[name] for name in names if name in row}


def machine(loads):
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    server = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout.split()
    return {"processor": model, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version(),
            "redis": next((word[2:] for word in server if word.startswith("v=")), ""),
            "load": [round(min(loads, default=0), 1), round(max(loads, default=0), 1)]}


def versions(systems):
    venvs = os.environ.get("PEERS_VENVS", "")
    out = {}
    for system in sorted(systems):
        if system in PACKAGES:
            code = f"from importlib.metadata import version; print(version('{PACKAGES[system]}'))"
            r = subprocess.run([os.path.join(venvs, system, "bin", "python"), "-c", code], capture_output=True, text=True)
            out[system] = f"{PACKAGES[system]} {r.stdout.strip()}"
    return out


# ------------------------------------------------------------------ what must hold
def bars(kept):
    s = kept["systems"]
    floor = s["floor"]
    cpu = min(r["cpu_ms_task"] for r in floor["drain"].values())
    mine, inline = s["gristmill-redis"], s["gristmill-redis-inline"]
    redis = [r["redis_cmds_task"] for one in (mine, inline) for r in one["drain"].values()]
    out = [
        bar("CPU per no-op over the floor's, `async def`, inline", inline["drain"]["tuned"]["cpu_ms_task"] / cpu, most=3),
        bar("CPU per no-op over the floor's, `async def`, in a runner", mine["drain"]["tuned"]["cpu_ms_task"] / cpu, most=6),
        bar("CPU per no-op over the floor's, `def`, in runners", mine["drain"]["one"]["cpu_ms_task"] / cpu, most=6,
            wall=True),      # each task is a switch of processes, and what that costs grows with the crowd
        bar("Redis commands per task, those inside scripts counted", max(redis), most=4),
        bar("batch enqueue over the floor's", mine["enqueue"]["batch"]["per_s"] / floor["enqueue"]["batch"]["per_s"], least=0.4,
            wall=True),
    ]
    if "latency" in floor:
        at = floor["latency"]["one"]["start_p50"]
        out.append(bar("submit to start, p50, over the floor's", mine["latency"]["one"]["start_p50"] / at, most=2, wall=True))
    if "io" in mine:
        out.append(bar("tasks that wait 20 ms, 100 at a time: wall over ideal", mine["io"]["over"], most=3, wall=True))
    if "idle" in mine:
        out.append(bar("Redis commands a second of an idle worker", mine["idle"]["one"]["idle_redis_cmds_s"], most=2))
    ours = [r for r in kept["deaths"] if r["system"].startswith("gristmill-redis") and r["sig"] == "SIGKILL" and "error" not in r]
    for child, text, most in ((False, "SIGKILL of a whole worker: its task starts again after s", 15),
                              (True, "SIGKILL of a runner: its task starts again after s", 1)):
        found = [r.get("redelivered_after_s") for r in ours if r["only_child"] is child]
        if found:
            out.append(bar(text, max(float("inf") if v is None else v for v in found), most=most))
    found = [r["at_once"] for r in kept["longer_than_lease"] if r["label"].startswith("gristmill")]
    if found:
        out.append(bar("a task that outlives 3 leases, its loop blocked or the GIL held: runs at once", max(found), most=1))
    found = [r["starts"] for r in kept["poison"] if r["label"].startswith("gristmill")]
    if found:
        out.append(bar("a task that kills its process: starts, of 3 attempts", max(found), most=3))
    return out


def bar(what, value, *, most=None, least=None, wall=False):
    """`wall`: what hangs on the clock or on switches between processes says nothing where others use the processors."""
    held = (most is None or value <= most) and (least is None or value >= least)
    return {"what": what, "value": round(value, 2), "most": most, "least": least, "held": held, "wall": wall}


# ------------------------------------------------------------------ the page
def page(kept):
    s = kept["systems"]
    names = [name for name in ORDER if name in s]
    m = kept["machine"]
    lines = [
        "<!-- Written by bench/peers/summary.py. Do not edit by hand. -->",
        "",
        "# Measurements",
        "",
        "Of task queues, and [of documents](#documents).",
        "",
        "Task queues for Python beside one another, in one run, on the same Redis: each under its own documented settings, with"
        " the same harness. `make bench-peers` repeats it; the numbers are kept in `bench/results/peers.json`.",
        "",
        f"The machine: {m['processor']}, {m['cores']} cores, {m['system']}, Python {m['python']}, Redis {m['redis']}; load average"
        f" {m['load'][0]} to {m['load'][1]} during the run. Rates depend on the machine and on what else runs there; CPU per"
        " task, commands per task and the ratios hardly do, so compare by these.",
        "",
        "The *floor* is no queue. It is the least that can work on a stream of Redis: batched reads, batched acknowledgements and"
        " results, no leases, no retries, no limits. Gristmill has at-least-once delivery, fencing and time limits on in all of"
        " this. *Runners* are the child processes that bodies run in by default; *inline* is the worker's own process.",
        "",
        "## What must hold",
        "",
        "| | measured | bound | |",
        "| --- | --: | --- | --- |",
    ]
    for b in kept["bars"]:
        bound = f"at most {b['most']}" if b["most"] is not None else f"at least {b['least']}"
        lines.append(f"| {b['what']} | {num(b['value'])} | {bound} | {judged(b, m)} |")
    lines += ["", "## Draining no-ops", "",
              "One worker process with default settings, then tuned as its documentation says. CPU over the floor's is that of the"
              " better of both. Gristmill: `def` bodies, then `async def`.", ""]
    cpu = best(s["floor"])
    head = ["system", "default /s", "tuned /s", "CPU ms per task, default", "tuned", "over the floor's", "Redis commands per task"]
    lines += table(head, [
        [label(name)] + [num(get(s[name], "drain", role, "per_s")) for role in ("one", "tuned")]
        + [num(get(s[name], "drain", role, "cpu_ms_task"), 3) for role in ("one", "tuned")]
        + [num(best(s[name]) / cpu) if best(s[name]) else "–", num(get(s[name], "drain", "tuned", "redis_cmds_task"), 1)]
        for name in names if "drain" in s[name]])
    lines += ["", "## Enqueueing", "", "Tasks a second from one client.", ""]
    lines += table(["system", "one at a time", "32 in flight", "in batches"], [
        [label(name)] + [num(get(s[name], "enqueue", mode, "per_s")) for mode in ("single", "conc", "batch")]
        for name in names if "enqueue" in s[name]])
    lines += ["", "## Latency of a single task", "", "Milliseconds, on an idle queue, default settings.", ""]
    lines += table(["system", "submit to start, p50", "p99", "submit to result, p50", "p99"], [
        [label(name)] + [num(get(s[name], "latency", "one", key)) for key in ("start_p50", "start_p99", "result_p50", "result_p99")]
        for name in names if "latency" in s[name]])
    lines += ["", "## 2,000 tasks that wait 20 ms, 100 at a time", "", "The ideal is 0.4 s.", ""]
    lines += table(["system", "wall s", "over the ideal", "CPU ms per task"], [
        [label(name)] + [num(s[name]["io"].get(key)) for key in ("wall_s", "over", "cpu_ms_task")]
        for name in names if "io" in s[name]])
    lines += ["", "## An idle worker", "", "Default settings, just after its first task.", ""]
    lines += table(["system", "processes", "RSS MiB", "PSS MiB", "start to first task s", "CPU %", "Redis commands a second"], [
        [label(name)] + [num(get(s[name], "idle", "one", key), 1)
                         for key in ("procs", "rss_mb", "pss_mb", "start_s", "idle_cpu_pct", "idle_redis_cmds_s")]
        for name in names if "idle" in s[name]])
    lines += ["", "## Death of a worker while it runs a task", "",
              "Everything is killed with SIGKILL and another worker is started at once (or only the child process that runs the task"
              " is killed, where there is one). When does the task start again? *Default* is the bare command line, *durable* the"
              " settings that its documentation names for that.", ""]
    lines += table(["system", "settings", "killed", "starts again"], [
        [label(r["system"]), "default" if r["role"] == "full" else "durable" + (f" {json.dumps(r['opt'])}" if r.get("opt") else ""),
         "the task's process" if r["only_child"] else "the worker", again(r)]
        for r in sorted(kept["deaths"], key=lambda r: (ORDER.index(r["system"]), r["role"], r["only_child"])) if r["sig"] == "SIGKILL"])
    lines += ["", "## Tasks that outlive their lease", "",
              "Two workers, a lease (or what the system has instead) of 10 s, a task that takes several of them: it sleeps, blocks its"
              " event loop, or holds the GIL.", ""]
    lines += table(["system", "starts", "runs at the same time"], [
        [r["label"], r.get("starts", "–"), r.get("at_once", "–")] for r in sorted(kept["longer_than_lease"], key=lambda r: r["label"])])
    lines += ["", "## A task that kills its process whenever it runs", "",
              "A supervisor starts the worker again. Watched for two minutes.", ""]
    lines += table(["system", "starts", "what is kept of it"], [
        [r["label"], r.get("starts", "–"), told(r)] for r in sorted(kept["poison"], key=lambda r: r["label"])])
    if kept["versions"]:
        lines += ["", "## Versions", "", ", ".join(sorted(kept["versions"].values())) + "."]
    lines += documents_page.kept()
    return "\n".join(lines) + "\n"


def judged(one, machine):
    if one["held"]:
        return "holds"
    return "crowded machine" if one["wall"] and crowded(machine) else "**does not hold**"


def crowded(machine):
    """Whether others used the processors during the run: its own processes alone give no such load."""
    return machine["load"][1] > 3 * machine["cores"]


def table(head, body):
    return ["| " + " | ".join(head) + " |", "| --- |" + " --: |" * (len(head) - 1),
            *("| " + " | ".join(map(str, row)) + " |" for row in body)]


def label(name):
    return NAMES.get(name, name)


def get(system, *path):
    for step in path:
        system = system.get(step, {}) if isinstance(system, dict) else {}
    return system if isinstance(system, (int, float)) else None


def best(system):
    return min((r["cpu_ms_task"] for role, r in system.get("drain", {}).items() if role != "two"), default=None)


def again(row):
    if "error" in row:
        return "failed: " + row["error"][:60].replace("\n", " ").replace("|", "/")
    after = row.get("redelivered_after_s")
    return f"not within {row['watched_s']} s" if after is None else f"after {after} s"


def told(row):
    if not row.get("dead"):
        return "–" if "error" not in row else "failed"
    attempt, state, error = row["dead"][0]
    return f"{state} after {attempt} attempts: {error}".replace("|", "/")


def num(value, digits=2):
    if value is None:
        return "–"
    if value == float("inf"):
        return "never"
    if value == int(value) and value < 100:
        return str(int(value))
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}f}" if value < 10 else f"{value:.1f}"


def main():
    if sys.argv[1] == "collect":
        collect(sys.argv[2])
    with open(KEPT) as f:
        kept = json.load(f)
    with open(PAGE, "w") as f:
        f.write(page(kept))


if __name__ == "__main__":
    main()
