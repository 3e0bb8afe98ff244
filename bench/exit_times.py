#!/usr/bin/python3
"""A table of where the time of VM exits went, out of a console log of Tithe with `stats`.

    bench/exit_times.py LOG     (-: standard input)

For each VM and exit reason: exits, the share of the hypervisor's time, ticks from exit to entry
(average and longest), and a histogram: a column for each power of two, as high as its share of the
exits, `.` where there are few and a blank where there are none.
"""
import json
import re
import sys

LINE = re.compile(r"(stats|times): (\{.*\})\s*$")
LEVELS = "▁▂▃▄▅▆▇█"
FEW = 1 / 200


def read_log(text):
    """{VM: {"stats": the stats line, "times": [its times lines]}} as printed at the VM's end."""
    vms = {}
    for line in text.splitlines():
        found = LINE.search(line)
        if not found:
            continue
        data = json.loads(found[2])
        if found[1] == "stats":  # comes first; a VM that was restarted ends several times
            vms[data["vm"]] = {"stats": data, "times": []}
        else:
            vms[data["vm"]]["times"].append(data)
    return vms


def problems(vm):
    """What does not agree in a VM's lines: they are counted in different places."""
    exits = dict(vm["stats"]["exits"])
    for row in vm["times"]:
        reason, bins = row["reason"], row["histogram"]
        if reason != "resumption" and row["count"] != exits.pop(reason, 0):
            made = vm["stats"]["exits"].get(reason)
            yield f"{reason}: {row['count']} exits measured, {made} made"
        if sum(bins) != row["count"]:
            yield f"{reason}: {sum(bins)} in the histogram, {row['count']} counted"
        if not sum(n << k for k, n in enumerate(bins) if k) <= row["total"] < \
                sum(n << (k + 1) for k, n in enumerate(bins)):
            yield f"{reason}: a total of {row['total']} ticks cannot be"
        if row["max"].bit_length() != max(1, len(bins)):
            yield f"{reason}: the longest of {row['max']} ticks is not in the last bin"
    for reason, count in exits.items():
        yield f"{reason}: none measured, {count} made"
    total = sum(row["total"] for row in vm["times"])
    if total != vm["stats"]["host_ticks"]:
        yield f"{total} ticks measured, {vm['stats']['host_ticks']} spent"


def bar(count, total):
    if count == 0:
        return " "
    if count < FEW * total:
        return "."
    return LEVELS[min(len(LEVELS) - 1, count * len(LEVELS) // total)]


def table(vm):
    """Header and rows, the most time first."""
    used = [k for row in vm["times"] for k, n in enumerate(row["histogram"]) if n]
    low, high = min(used), max(used)
    header = ["reason", "exits", "time", "average", "longest", f"2^{low} to 2^{high + 1} ticks"]
    all_ticks = max(1, sum(row["total"] for row in vm["times"]))
    rows = []
    for row in sorted(vm["times"], key=lambda row: -row["total"]):
        bins = row["histogram"] + [0] * (high + 1 - len(row["histogram"]))
        rows.append([row["reason"], f"{row['count']:,}", f"{100 * row['total'] / all_ticks:.1f} %",
                     f"{row['total'] / row['count']:,.0f}", f"{row['max']:,}",
                     "|" + "".join(bar(n, row["count"]) for n in bins[low:high + 1]) + "|"])
    return header, rows


def print_vm(name, vm):
    header, rows = table(vm)
    widths = [max(len(row[i]) for row in [header] + rows) for i in range(len(header))]
    print(f"{name}: {vm['stats']['total']:,} exits, {vm['stats']['host_ticks']:,} ticks in Tithe")
    for row in [header, ["-" * width for width in widths]] + rows:
        print("  ".join(text.ljust(width) if i in (0, len(header) - 1) else text.rjust(width)
                        for i, (text, width) in enumerate(zip(row, widths))).rstrip())


def main():
    if len(sys.argv) != 2:
        sys.exit("exit_times: usage: bench/exit_times.py LOG")
    try:
        with sys.stdin if sys.argv[1] == "-" else open(sys.argv[1], errors="replace") as file:
            vms = read_log(file.read())
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"exit_times: {sys.argv[1]}: {error}")
    vms = {name: vm for name, vm in vms.items() if vm["times"]}
    if not vms:
        sys.exit(f"exit_times: {sys.argv[1]}: no exit times in it (Tithe prints them with `stats`)")
    for name, vm in vms.items():
        print_vm(name, vm)


if __name__ == "__main__":
    main()
