"""What is measured: Weir as it is built with the profile `measured`. Environment variables name other files."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "target"
MEASURED = TARGET / "measured"
EXAMPLES = ["closed_loop", "open_loop", "upstream", "back_tiers"]


def _chosen(variable, usual):
    return Path(os.environ.get(variable) or usual)


WEIR = _chosen("WEIR_BIN", MEASURED / "weir")
# What generates load: another build, where the one under test has no `weir load`.
WEIR_LOAD = _chosen("WEIR_LOAD_BIN", WEIR)
CLOSED_LOOP = _chosen("CLOSED_LOOP_BIN", MEASURED / "examples" / "closed_loop")
OPEN_LOOP = _chosen("OPEN_LOOP_BIN", MEASURED / "examples" / "open_loop")
UPSTREAM = _chosen("UPSTREAM_BIN", MEASURED / "examples" / "upstream")
BACK_TIERS = _chosen("BACK_TIERS_BIN", MEASURED / "examples" / "back_tiers")


def build():
    """Builds what the environment does not name."""
    commands = []
    if "WEIR_BIN" not in os.environ:
        commands.append(["-p", "weir"])
    wanted = [name for name in EXAMPLES if f"{name.upper()}_BIN" not in os.environ]
    if wanted:
        commands.append(["-p", "loadgen", *(word for name in wanted for word in ("--example", name))])
    for words in commands:
        print(f"building: cargo build --profile measured {' '.join(words)} (minutes, the first time)", flush=True)
        done = subprocess.run(["cargo", "build", "--quiet", "--profile", "measured", *words], cwd=ROOT)
        if done.returncode:
            sys.exit("Weir does not build; see above. WEIR_BIN=… measures a binary that exists.")


def understands(subcommand, option):
    """Whether this build of Weir has an option."""
    shown = subprocess.run([str(WEIR), subcommand, "--help"], capture_output=True, text=True)
    return option in shown.stdout


def version():
    """The commit that the tree is at, and whether it differs from it."""
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain", "-uno") else "")
