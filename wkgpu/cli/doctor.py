"""`wkgpu doctor`: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

import lz4
from rich.console import Console
from rich.markup import escape

from wkgpu import Finding, config, cuda_findings, get_engine
from wkgpu.cli.console import print_error
from wkgpu.cli.self_test import Step, self_test
from wkgpu.errors import DeviceError
from wkgpu.extras import own_version


@dataclass
class Report:
    """What the doctor has found.

    Parameters
    ----------
    versions : dict
        By the name of what they are of.
    problems : dict
        By the name of a device: why it cannot be used; empty where it can.
    findings : list of Finding
        What CUDA needs.
    steps : list of Step
        Of the self-test.
    """

    versions: dict[str, str]
    problems: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    @property
    def automatic(self) -> str:
        """What "auto" means."""
        return "cpu" if self.problems["cuda:0"] else "cuda:0"

    def problem(self, device: str) -> str:
        """Return the first thing that does not work on a device."""
        failed = (f"{step.name}: {step.problem}" for step in self.steps if step.device == device and step.problem)
        return self.problems[device] or next(failed, "")


def show_report(device: str | None, as_json: bool, console: Console) -> bool:
    """Look at everything, print it, and say whether a device works.

    Parameters
    ----------
    device : str, optional
        That must work; without it, that of the settings. On a machine without a GPU, "auto" needs only the CPU.
    as_json : bool
        Whether to print a document for programs.
    """
    report = Report(_versions())
    wanted = config.device if device is None else device
    wanted = "cuda:0" if wanted == "cuda" else wanted
    with console.status("Looking for what CUDA needs ..."):
        # Engines first, because that of CUDA gives KvikIO its threads, of which a finding tells.
        others = [] if wanted == "auto" else [wanted]
        report.problems = {name: _problem(name) for name in dict.fromkeys(["cpu", "cuda:0", *others])}
        report.findings = cuda_findings()
    if not as_json:
        _print_machine(report, console)
        _print_findings(report.findings, console)
        console.print("\n[bold]Self-test[/]")
    for name, problem in report.problems.items():
        if problem:
            continue
        with console.status(f"Testing {name}; the first time on a machine its kernels are compiled ..."):
            for step in self_test(name):
                report.steps.append(step)
                if not as_json:
                    _print_step(step, console)
    decisive = report.automatic if wanted == "auto" else wanted
    if as_json:
        console.print(json.dumps(_document(report, decisive), indent=2), markup=False, soft_wrap=True)
    else:
        _print_verdict(report, console)
    problem = report.problem(decisive)
    if problem:
        print_error(problem if problem.startswith("device ") else f"device {decisive!r} does not work. {problem}")
    return not problem


def _problem(device: str) -> str:
    try:
        get_engine(device)
    except DeviceError as error:
        return str(error)
    return ""


def _versions() -> dict[str, str]:
    return {
        "wkgpu": own_version(),
        "Python": platform.python_version(),
        "NumPy": _version("numpy"),
        "Numba": _version("numba"),
        "liblz4": lz4.library_version_string(),
    }


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # it was put there without pip
        return "(of an unknown version)"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- For people


def _print_machine(report: Report, console: Console) -> None:
    console.print(", ".join(f"{name} {version}" for name, version in report.versions.items()))
    origin = "from WKGPU_DEVICE" if os.environ.get("WKGPU_DEVICE") else "by default"
    console.print(
        f"{platform.system()} {platform.machine()}, {_count(_cores(), 'core')}, "
        f"{_count(config.threads, 'thread')} of the CPU engine; the device is {escape(repr(config.device))} {origin}"
    )


def _print_findings(findings: list[Finding], console: Console) -> None:
    console.print("\n[bold]What CUDA needs[/]")
    for finding in findings:
        console.print(f"{_mark(finding.works)}  {finding.subject:13}  {escape(finding.text)}", soft_wrap=True)
    advices = dict.fromkeys(finding.advice for finding in findings if finding.advice)
    if advices:
        console.print(f"To use a GPU: {escape(', then '.join(advices))}", soft_wrap=True)


def _print_step(step: Step, console: Console) -> None:
    said = f"[red]{escape(step.problem)}[/]" if step.problem else f"[dim]{1000 * step.seconds:,.0f} ms[/]"
    console.print(f"{_mark(not step.problem)}  {step.device:6}  {step.name}: {said}", soft_wrap=True)


def _print_verdict(report: Report, console: Console) -> None:
    unusable, problem = report.problems["cuda:0"], report.problem("cuda:0")
    if unusable and all(finding.works for finding in report.findings):  # for what no finding has said
        verdict = f'On this machine "auto" means the CPU, because {escape(unusable)}'
    elif unusable:
        verdict = 'On this machine "auto" means the CPU.'
    elif problem:
        verdict = '[red]On this machine "auto" means cuda:0, which does not work: set WKGPU_DEVICE=cpu.[/]'
    else:
        verdict = 'On this machine "auto" means cuda:0.'
    console.print(f"\n{verdict}", soft_wrap=True)


def _mark(works: bool) -> str:
    return "[green]ok[/]" if works else "[yellow]no[/]"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# ---- For programs


def _document(report: Report, decisive: str) -> dict[str, Any]:
    return {
        "versions": report.versions,
        "cores": _cores(),
        "threads": config.threads,
        "device_setting": config.device,
        "findings": [asdict(finding) for finding in report.findings],
        "self_test": [
            {
                "device": step.device,
                "step": step.name,
                "works": not step.problem,
                "problem": step.problem,
                "seconds": round(step.seconds, 3),
            }
            for step in report.steps
        ],
        "devices": {
            device: {"works": not report.problem(device), "problem": report.problem(device)}
            for device in report.problems
        },
        "auto": report.automatic,
        "device": decisive,
        "works": not report.problem(decisive),
    }
