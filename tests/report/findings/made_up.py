"""Reports that no network gave, for the formats: a usual one, a sound one, and one of everything that is awkward."""

from __future__ import annotations

from initscope.records.finding import CheckReport, Failed, Finding, Location, Skipped
from initscope.report.findings.printing import Printing
from initscope.report.findings.rule_info import RuleInfo

ROOT = "/project"
DOC = """Finds signals that fade on their way.

Why it is bad
    What the last layers see is noise.

Criterion
    S_last / S_first below 1e-3.

When it is fine
    Branches that start at zero.

Example
    nn.Linear(64, 64)

Corrected
    initscope.initialize(model, "orthogonal")

Fix
    Draw the weights with the gain of the activation.

References
    Schoenholz et al. 2017.
"""
RULES = (
    RuleInfo(code="INI101", name="interchangeable-units", gravest="error", needs=("escape",), doc="Finds equal units."),
    RuleInfo(code="INI104", name="clones-in-series", gravest="info", doc="Finds clones one after the other."),
    RuleInfo(code="INI301", name="signal-fades", gravest="error", basis="ratio", needs=("capture",), doc=DOC),
    RuleInfo(code="INI402", name="dead-units", gravest="warn", basis="statistical", doc="Finds units that never fire."),
    RuleInfo(code="INI501", name="initial-loss", gravest="error", needs=("loss", "chance"), doc="Finds a wild loss."),
    RuleInfo(code="INI503", name="prior-bias", gravest="warn", needs=("loss",), doc="Finds an empty bias."),
)
FADES = Finding(
    code="INI301", name="signal-fades", severity="error",
    where=("blocks.11.fc", "blocks.10.fc", "blocks.9.fc"),
    message="The signal falls from 1.0 to 3.1e-05 over 12 layers, 0.42 a layer: what the last layers see is noise.",
    evidence={"first": 1.0, "last": 3.1e-05, "layers": 12, "per_layer": 0.42, "depth_budget": 6.9},
    fix='initscope.initialize(model, {"blocks.*.fc.weight": "orthogonal(gain=\'tanh\')"}, seed=0)',
    confidence="4.5 decades below the sound range", location=Location(file="/project/nets/deep.py", line=31),
)  # fmt: skip
EQUAL = Finding(
    code="INI101", name="interchangeable-units", severity="error", where=("head.0.weight",),
    message="All 64 units start equal and are still equal after 3 steps: the layer is as wide as one unit.",
    evidence={"groups": 1, "units": 64}, fix='initscope.initialize(model, {"head.0.weight": "he_normal"}, seed=0)',
    location=Location(file="/project/nets/deep.py", line=44),
)  # fmt: skip
DEAD = tuple(
    Finding(
        code="INI402", name="dead-units", severity="warn", where=(f"blocks.{index}.act",),
        message=f"{40 + index} of 64 units are off for all 32 samples; half are expected.",
        evidence={"dead": 40 + index, "units": 64, "samples": 32},
        fix='with torch.no_grad():\n    for block in model.blocks:\n        block.fc.bias.zero_()',
        confidence="p = 3.1e-05", location=Location(file="/project/nets/deep.py", line=31),
        notes=("synthetic input: lowered from error",),
    )
    for index in range(5)
)  # fmt: skip
CLONES = Finding(
    code="INI104",
    name="clones-in-series",
    severity="info",
    where=("encoder.layers.1", "encoder.layers.0"),
    message="6 layers in series start with equal values, as nn.TransformerEncoder makes them; their gradients differ.",
)
USUAL = CheckReport(
    target="nets.deep:build",
    findings=(CLONES, *DEAD, FADES, EQUAL),
    skipped=(
        Skipped(rule="initial-loss", reason="no loss was given"),
        Skipped(rule="prior-bias", reason="no loss was given"),
    ),
    silenced=((DEAD[0], "allowed: the gate is meant to be shut"),),
    facts={"parameters": 12_345_678, "modules": 48, "batch": 32, "loss": 2.4137, "chance": 2.3026, "seconds": 1.84},
)
SOUND = CheckReport(target="timm:resnet18", findings=(), facts={"parameters": 11_689_512, "seconds": 3.2})
AWKWARD = CheckReport(
    target="a.b:<c>&d",
    findings=(
        Finding(
            code="INI301", name="signal-fades", severity="warn", where=(),
            message="<b>50 %</b>: a, b\r\nand ]]> \x00 \x1b[31m & \u20ac",
            evidence={
                "nan": float("nan"), "inf": float("inf"), "low": float("-inf"), "no": None, "yes": True, "text": "<i>",
            },
            fix="model.fc['a'] = \"<script>alert(1)</script>\"  # 100 %",
            location=Location(file="/else where/a,b:c.py", line=3),
        ),
        Finding(code="INI999", name="from-elsewhere", severity="info", where=("x",), message=""),
    ),
    skipped=(Skipped(rule="dead-units", reason="an operator <x> & \x08"),),
    failed=(Failed(rule="clones-in-series", error="ZeroDivisionError: no\nway", trace="Traceback <...>\n  x\n"),),
)  # fmt: skip


def printing(report: CheckReport = USUAL, **other: object) -> Printing:
    """Returns what a format is given."""
    return Printing(**{"report": report, "rules": RULES, "root": ROOT, **other})
