"""Tables, JSON and budgets out of the results of the benchmark's guest."""
import json
import os

from bench_machine import BUILD, ROOT

# Basic exit reasons, SDM vol. 3 appendix C.
REASONS = {0: "exception", 1: "external interrupt", 7: "interrupt window", 10: "CPUID", 12: "HLT",
           18: "VMCALL", 28: "CR access", 29: "DR access", 30: "I/O", 31: "RDMSR", 32: "WRMSR",
           40: "PAUSE", 43: "TPR", 44: "APIC access", 45: "virtual EOI", 46: "GDTR/IDTR",
           48: "EPT violation", 49: "EPT misconfig", 52: "preemption timer", 54: "WBINVD",
           55: "XSETBV", 56: "APIC write"}
PEERS = ("kvm", "xen")
FIELDS = ("reads", "writes")
# An interrupt of the host's may hit any row: so many exits a round are none.
STRAY_EXITS = 0.05


def load_json(*path):
    with open(os.path.join(*path)) as file:
        return json.load(file)


def load_peers():
    """Peers' figures: measured here by `make bench-peers` where that was done, else those that
    come with the sources."""
    peers = load_json(ROOT, "bench", "peers.json")
    measured = os.path.join(BUILD, "bench", "peers.json")
    if os.path.exists(measured):
        peers.update(load_json(measured))
    return peers


def source_text(peer):
    return f"{peer['source']}; in Bochs {peer['model']}; {peer['note']}"


class Budgets:
    """What each row may cost."""

    def __init__(self):
        data = load_json(ROOT, "bench", "budgets.json")
        self.at_most, self.no_exit = data["at_most"], set(data["no_exit"])
        self.whole, self.fields = set(data["whole"]), data["fields"]
        self.asked = {name: entry["asked"] for name, entry in data["not_reached"].items()}
        self.held_at = {name: entry["at_most"] for name, entry in data["not_reached"].items()}

    def text(self, name):
        """What the budget is, or what was asked for where it is not reached."""
        if name in self.no_exit:
            return "no exit"
        return str(self.asked.get(name, self.at_most.get(name, "-")))

    def over_asked(self, name, row, bare):
        """Whether a row costs more than is asked, be that known or not."""
        return bool(name in self.asked and self.counted(name, row, bare) > self.asked[name]
                    or self.problem(name, row, bare))

    def field_problems(self, rows):
        """Operations with more accesses to VMCS fields than are allowed, one line each. The owner's
        round every 64 exits has some, too, so these averages are no whole numbers."""
        for name, most in self.fields.items():
            for what, count in most.items():
                measured = rows.get(name, {}).get(what)
                if measured is None:
                    yield f"{name}: {what} of VMCS fields not counted"
                elif round(measured) > count:
                    yield f"{name}: {measured:.2f} {what} of VMCS fields, at most {count} allowed"

    def counted(self, name, row, bare):
        """The part of the cost that the budget is about."""
        return row["median"] - (0 if name in self.whole else bare.get(name, 0))

    def problem(self, name, row, bare):
        """What is wrong with a row, or None."""
        if name in self.no_exit:
            exits = row.get("exits", 0)
            return f"{exits:.3f} exits, should be none" if exits > STRAY_EXITS else None
        most = self.held_at.get(name, self.at_most.get(name))
        cost = self.counted(name, row, bare)
        if most is None or cost <= most:
            return None
        return f"{cost} instructions, at most {most} are allowed"

    def names(self):
        return list(self.at_most) + list(self.held_at) + sorted(self.no_exit)


def merge(tithe, accounted, counted, bare, peers, unit):
    """Everything about every operation, as it goes into the JSON file."""
    operations = {}
    for name, row in tithe.rows.items():
        entry = dict(row)
        entry.pop("ticks", None)
        reason = entry.pop("reason", None)
        if reason is not None:
            entry["reason"] = REASONS.get(reason, str(reason))
        if accounted and name in accounted.rows:
            entry["hypervisor_ticks"] = accounted.rows[name].get("ticks", 0)
        for what in FIELDS:
            if name in counted.rows:
                entry[what] = counted.rows[name].get(what)
        if bare and name in bare.rows:
            entry["bare"] = bare.rows[name]["median"]
        for peer in PEERS:
            if name in peers.get(peer, {}).get("rows", {}):
                entry[peer] = peers[peer]["rows"][name]
        operations[name] = entry
    sources = {peer: source_text(peers[peer]) for peer in PEERS if peer in peers}
    return {"benchmark": "exits", "unit": unit, "operations": operations,
            "skipped": tithe.skipped, "peers": sources}


def cell(value):
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def average(value):
    """Two digits at most; whole numbers without any."""
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def table_rows(result, budgets):
    """Header and rows of text, for the terminal and for docs alike."""
    in_bochs = result["unit"] == "instructions"
    header = ["operation", result["unit"], "exits", "main exit reason", "in Tithe", "reads",
              "writes", "bare", "at most", "KVM", "Xen"]
    rows = []
    for name, entry in result["operations"].items():
        exits = entry.get("exits")
        peers = [entry.get(peer) if in_bochs else None for peer in PEERS]
        problem = in_bochs and budgets.over_asked(name, entry, {name: entry.get("bare", 0)})
        rows.append([name, cell(entry["median"]) + ("!" if problem else ""),
                     average(exits),
                     entry.get("reason", "-") if exits and exits > STRAY_EXITS else "-",
                     cell(entry.get("hypervisor_ticks")),
                     *(average(entry.get(what)) for what in FIELDS), cell(entry.get("bare")),
                     budgets.text(name) if in_bochs else "-",
                     *map(cell, peers)])
    return header, rows


def print_table(header, rows):
    widths = [max(len(row[i]) for row in [header] + rows) for i in range(len(header))]
    left = (0, 3)
    for row in [header, ["-" * width for width in widths]] + rows:
        print("  ".join(text.ljust(width) if i in left else text.rjust(width)
                        for i, (text, width) in enumerate(zip(row, widths))).rstrip())
