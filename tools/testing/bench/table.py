#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tables (text that is reStructuredText as well) and plots (SVG, by gnuplot) of what
bench/run measured.

	bench/table.py RESULTS.json FOLDER

The same results give the same files, byte for byte.
"""

import json
import os
import subprocess
import sys

PLAIN, INTREE, MODULE, WIREGUARD = "plain", "in-tree", "module", "WireGuard"
INTREE_OFFLOAD, MODULE_OFFLOAD, PCRYPT = "in-tree, offload", "module, offload", "in-tree, pcrypt"
ALONE, ALONE_OFFLOAD = "module, spread=0", "module, offload, spread=0"
ANY_SA = "packet to a random one"
COLOURS = {PLAIN: "#aaaaaa", INTREE: "#d95f02", MODULE: "#1b9e77", INTREE_OFFLOAD: "#f2b37d",
           MODULE_OFFLOAD: "#83cfb5", PCRYPT: "#7570b3", ALONE: "#0b5e45",
           ALONE_OFFLOAD: "#4f8f7a", WIREGUARD: "#666666"}


def keep(path, part, rows, about):
    """Puts the part's rows and facts in the place of those of an earlier run."""
    results = {"runs": {}, "rows": []}
    if os.path.exists(path):
        with open(path, encoding="ascii") as file:
            results = json.load(file)
    results["runs"][part] = about
    results["rows"] = [row for row in results["rows"] if row["part"] != part] + rows
    with open(path, "w", encoding="ascii") as file:
        file.write('{"runs": ' + json.dumps(results["runs"], indent=1) + ',\n "rows": [\n')
        file.write(",\n".join(json.dumps(row) for row in results["rows"]) + "\n]}\n")


class Results:
    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            self.rows = json.load(file)["rows"]
        self.values = {(r["part"], r["what"], r["size"], r["impl"], r["measure"]): r["value"] for r in self.rows}

    def keys(self, part, measure):
        """(what, size) in the order of measurement, without plain forwarding"""
        return list(dict.fromkeys((r["what"], r["size"]) for r in self.rows
                                  if r["part"] == part and r["measure"] == measure and r["what"] != PLAIN))

    def get(self, part, key, impl, measure):
        found = self.values.get((part, key[0], key[1], impl, measure))
        if found is None and impl == PLAIN:	# which is the same for every suite
            return self.values.get((part, PLAIN, key[1], impl, measure))
        return found


class Pivot:
    """Cases down, implementations across, then ratios."""

    def __init__(self, results, part, measure, impls):
        self.results, self.part, self.measure = results, part, measure
        self.keys = results.keys(part, measure)
        self.impls = impls
        self.more = []

    def value(self, key, impl):
        return self.results.get(self.part, key, impl, self.measure)

    def ratio(self, head, over=MODULE, under=INTREE, floor=None):
        """Another column; with a floor, the ratio of what comes on top of that"""
        def cell(key):
            values = [self.value(key, impl) for impl in (over, under, floor or over)]
            if None in values:
                return ""
            less = values[2] if floor else 0
            return f"{(values[0] - less) / (values[1] - less):.3f}"
        self.more.append((head, cell))
        return self

    def lines(self):
        for key in self.keys:
            if all(self.value(key, impl) is None for impl in self.impls):
                continue
            case = [key[0]] + ([key[1]] if key[1] is not None else [])
            yield (case + [number(self.value(key, impl)) for impl in self.impls]
                   + [cell(key) for _, cell in self.more])

    def text(self):
        sized = any(size is not None for _, size in self.keys)
        return simple(["case"] + (["bytes"] if sized else []) + self.impls + [head for head, _ in self.more],
                      list(self.lines()))


def number(value):
    if value is None:
        return ""
    return str(value) if isinstance(value, int) or value == round(value, 3) else f"{value:.3f}"


def simple(head, lines):
    """A simple table of reStructuredText"""
    widths = [max(len(str(line[i])) for line in [head, *lines]) for i in range(len(head))]
    bar = ["=" * width for width in widths]
    return "".join("  ".join(str(cell).rjust(w) if i else str(cell).ljust(w)
                             for i, (cell, w) in enumerate(zip(line, widths))).rstrip() + "\n"
                   for line in [bar, head, bar, *lines, bar])


def functions(results):
    """type->input and type->output, the cipher in both, and ratios of their sums"""
    lines = []
    for key in results.keys("gateway", "type->input"):
        cipher = [results.get("gateway", key, MODULE, f"crypto_aead_{name}") for name in ("decrypt", "encrypt")]
        for old, new, note in ((INTREE, MODULE, ""), (INTREE_OFFLOAD, MODULE_OFFLOAD, ", offload")):
            values = [results.get("gateway", key, impl, name)
                      for name in ("type->input", "type->output") for impl in (old, new)]
            if None not in values:
                lines.append([key[0] + note, key[1], *values, *sums(values, cipher)])
    lines.sort(key=lambda line: "offload" in line[0])
    return simple(["case", "bytes", "input, in-tree", "input, module", "output, in-tree", "output, module",
                   "cipher", "ratio", "without cipher"], lines)


def sums(values, cipher):
    """(cipher, ratio, ratio without) of input and output together; the cipher is the same"""
    old, new = values[0] + values[2], values[1] + values[3]
    if None in cipher:
        return "", f"{new / old:.3f}", ""
    both = sum(cipher)
    return both, f"{new / old:.3f}", f"{(new - both) / (old - both):.3f}"


STAGES = ("bring", "work", "deliver", "forward", "lane", "flow")
CPUS = (2, 4, 6, 16, 64)
MANY = 16			# flows in the SA, as in scale


def forwarding(cpus, flows):
    """The parts of all packets that are forwarded by the CPU that brings, by the one that
    delivers, and by whichever other one has most: flows go to no more than eight"""
    if flows == 1:
        return 0, 1, 0
    if cpus == 2:
        return 1 / 2, 1 / 2, 0
    if cpus == 3:
        return 0, 1 / 2, 1 / 2
    return 0, 0, 1 / min(cpus - 2, flows, 8)


def times_in_tree(results, key, cpus, flows):
    """The model: how much more one SA gets through than in-tree, when no CPU waits for
    another.  One brings and one delivers, all work on what is waiting, and flows are
    forwarded where lane.c sends them; of what the lane takes, each side has one half."""
    bring, work, deliver, forward, lane, flow = (results.get("stages", key, MODULE, name) for name in STAGES)
    busiest = bring + work + deliver + forward
    if cpus > 1:
        parts = forwarding(cpus, flows)
        busiest = max((busiest + lane + flow) / cpus, bring + lane / 2 + parts[0] * forward,
                      deliver + lane / 2 + flow + parts[1] * forward, parts[2] * forward)
    return results.get("stages", key, INTREE, "all") / busiest


def measured(results, part, key):
    """The same as time, where there is a machine"""
    rates = [results.get(part, key, impl, "rate") for impl in (MODULE, INTREE)]
    return "" if None in rates else f"{rates[0] / rates[1]:.2f}"


def model(results):
    lines = []
    for key in results.keys("stages", "bring"):
        many = [f"{times_in_tree(results, key, n, MANY):.2f}" for n in (1, *CPUS)]
        lines.append([*key, *(results.get("stages", key, MODULE, name) for name in STAGES),
                      many[0], measured(results, "scale-one", key), many[1], measured(results, "scale", key), *many[2:],
                      *(f"{times_in_tree(results, key, n, 1):.2f}" for n in CPUS[:2])])
    return simple(["case", "bytes", *STAGES, "1 CPU", "measured", f"{CPUS[0]} CPUs", "measured",
                   *(f"{n} CPUs" for n in CPUS[1:]), *(f"{n}, one flow" for n in CPUS[:2])], lines)


def native(results):
    """Time, both gateways together and each of them"""
    lines = []
    for measure in ("both", "encrypt", "decrypt"):
        for key in results.keys("native", measure):
            floor, old, new = (results.get("native", key, impl, measure) for impl in (PLAIN, INTREE, MODULE))
            lines.append([key[0], measure, key[1], floor, old, new, f"{new / old:.2f}",
                          f"{(new - floor) / (old - floor):.2f}"])
    return simple(["case", "gateways", "bytes", PLAIN, INTREE, MODULE, "ratio", "added"], lines)


def all_sas(results):
    lines = []
    for key in results.keys("sas", ANY_SA):
        for measure in dict.fromkeys(r["measure"] for r in results.rows if r["part"] == "sas"):
            old, new = (results.get("sas", key, impl, measure) for impl in (INTREE, MODULE))
            unit = next(r["unit"] for r in results.rows if r["part"] == "sas" and r["measure"] == measure)
            if None not in (old, new):
                lines.append([f"{key[0]}: {measure}", unit, number(old), number(new), f"{new / old:.3f}"])
    return simple(["case", "unit", INTREE, MODULE, "ratio"], lines)


def bars(pivot, path, title, unit):
    """Clustered bars, one cluster for each case"""
    impls = [impl for impl in pivot.impls if any(pivot.value(key, impl) is not None for key in pivot.keys)]
    data = "".join(f'"{", ".join(str(part) for part in key if part is not None)}" '
                   + " ".join(number(pivot.value(key, impl)) or "NaN" for impl in impls) + "\n" for key in pivot.keys)
    drawn = ", ".join(f"$d using {i + 2}:xtic(1) title '{impl}' linecolor rgb '{COLOURS[impl]}'"
                      for i, impl in enumerate(impls))
    script = f"""set terminal svg size {340 + 60 * len(pivot.keys)},380 font 'sans-serif,11' background '#ffffff'
set output '{path}'
set style data histograms
set style histogram clustered gap 1
set style fill solid 1.0 noborder
set key outside right top reverse Left
set grid ytics linecolor rgb '#dddddd'
set yrange [0:*]
set lmargin 14
set title '{title}' noenhanced
set ylabel '{unit}'
set xtics nomirror scale 0 rotate by 35 right noenhanced
$d << EOD
{data}EOD
plot {drawn}
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def gateway_tables(results):
    plain = Pivot(results, "gateway", "both", [PLAIN, INTREE, MODULE]).ratio("ratio").ratio("added", floor=PLAIN)
    others = Pivot(results, "gateway", "both", [INTREE_OFFLOAD, MODULE_OFFLOAD])
    others.ratio("ratio, offload", MODULE_OFFLOAD, INTREE_OFFLOAD)
    others.impls = others.impls + [PCRYPT, WIREGUARD]
    yield "gateway.txt", plain.text()
    yield "gateway-others.txt", others.text()
    for half in ("encrypt", "decrypt"):
        pivot = Pivot(results, "gateway", half, [PLAIN, INTREE, MODULE])
        yield f"gateway-{half}.txt", pivot.ratio("ratio").ratio("added", floor=PLAIN).text()
    yield "functions.txt", functions(results)


def tables(results):
    """{file: text} of every part that was measured"""
    if results.keys("gateway", "both"):
        yield from gateway_tables(results)
    every = [impl for impl in COLOURS if impl not in (ALONE, ALONE_OFFLOAD)]
    for name, measure, impls in (("tcp", "both", every), ("tcp-gateways", "gateways", every),
                                 ("latency", "round trip", every)):
        part = name.split("-", maxsplit=1)[0]
        if results.keys(part, measure):
            pivot = Pivot(results, part, measure, impls).ratio("ratio")
            yield f"{name}.txt", pivot.ratio("ratio, offload", MODULE_OFFLOAD, INTREE_OFFLOAD).text()
    if results.keys("native", "both"):
        yield "native.txt", native(results)
    if results.keys("scale", "rate"):
        impls = [PLAIN, INTREE, PCRYPT, ALONE, MODULE, WIREGUARD]
        yield "scale.txt", Pivot(results, "scale", "rate", impls).ratio("ratio").text()
        for measure in ("lost", "late"):
            yield f"scale-{measure}.txt", Pivot(results, "scale", measure, impls).text()
    one = [PLAIN, INTREE, MODULE, WIREGUARD]
    if results.keys("scale-one", "rate"):
        yield "scale-one.txt", Pivot(results, "scale-one", "rate", one).ratio("ratio").text()
    if results.keys("stages", "bring"):
        yield "model.txt", model(results)
    if results.keys("stream", "rate"):
        impls = [PLAIN, INTREE_OFFLOAD, PCRYPT, ALONE_OFFLOAD, MODULE_OFFLOAD, WIREGUARD]
        pivot = Pivot(results, "stream", "rate", impls)
        yield "stream.txt", pivot.ratio("ratio, offload", MODULE_OFFLOAD, INTREE_OFFLOAD).text()
    if results.keys("stream-one", "rate"):
        pivot = Pivot(results, "stream-one", "rate", [PLAIN, INTREE_OFFLOAD, MODULE_OFFLOAD, WIREGUARD])
        yield "stream-one.txt", pivot.ratio("ratio, offload", MODULE_OFFLOAD, INTREE_OFFLOAD).text()
    if results.keys("pair", "rate"):
        pivot = Pivot(results, "pair", "rate", [PLAIN, INTREE_OFFLOAD, ALONE_OFFLOAD, MODULE_OFFLOAD, WIREGUARD])
        yield "pair.txt", pivot.ratio("ratio, offload", MODULE_OFFLOAD, INTREE_OFFLOAD).text()
    if results.keys("sas", ANY_SA):
        yield "sas.txt", all_sas(results)


def plots(results, folder):
    for part, measure, title, unit in (
            ("gateway", "both", "Through two gateways, by suite and bytes", "instructions per packet"),
            ("tcp", "both", "TCP from host to host", "instructions per 1000 bytes"),
            ("latency", "round trip", "One packet alone and its answer", "instructions"),
            ("scale", "rate", "One SA, a gateway with two CPUs", "packets per second"),
            ("stream", "rate", "One TCP stream, two CPUs", "Mbit/s")):
        if results.keys(part, measure):
            bars(Pivot(results, part, measure, list(COLOURS)), f"{folder}/{part}.svg", title, unit)


def main():
    results, folder = Results(sys.argv[1]), sys.argv[2]
    os.makedirs(folder, exist_ok=True)
    for name, text in tables(results):
        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)
    plots(results, folder)


if __name__ == "__main__":
    main()
