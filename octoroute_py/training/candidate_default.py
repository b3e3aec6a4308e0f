"""Make the network over candidates that comes with the package, from its made-up world and nothing else.

    scripts/train-candidates [FILE]

The same machine and the same numpy give the same bytes. The figures go into the file's metadata and to stdout.
"""

import json
import sys
from pathlib import Path

import click
import msgspec
import numpy as np

from octoroute_py.neural.candidate_file import save_net, shipped
from octoroute_py.neural.candidate_net import CandidateNet
from octoroute_py.training.candidate_report import (
    calibrated,
    confidences,
    fit_of,
    fit_to,
    leading,
    linear,
    trust_of,
    weighted_sum,
)
from octoroute_py.training.candidate_world import LONGEST, CandidateSets, make_sets
from octoroute_py.training.candidates import fit, network

SEED = 20_250_101
HIDDEN = 8
EPOCHS = 12
SETS = {"train": 20_000, "held_out": 3_000, "calibration": 12_000, "test": 10_000}
LONG_SETS = 400
LONG = 1_000


def make(target: Path) -> dict[str, object]:
    """Train, calibrate, measure and write; the figures."""
    rng = np.random.default_rng(SEED)
    sets = {name: make_sets(rng, count) for name, count in SETS.items()}
    fitted = fit(sets["train"], sets["held_out"], hidden=HIDDEN, epochs=EPOCHS, seed=SEED, on_epoch=_say)
    net = calibrated(network(fitted), sets["calibration"])
    alone = fit(sets["train"].alone(), sets["held_out"].alone(), hidden=HIDDEN, epochs=2, seed=SEED, on_epoch=_say)
    long = make_sets(rng, LONG_SETS, longest=LONG)
    figures = measure(net, network(alone), sets, long)
    notes = {
        "about": "P(the light model does well) for candidates of the Tiny Dancer router, best match first",
        "learned_from": f"{SETS['train']} made-up sets of 1 to {LONGEST} candidates (candidate_world), seed {SEED}",
        "knows_not": "any real model, prompt or deployment",
        "license": "MIT",
        "figures": json.dumps(figures),
    }
    save_net(target, net, notes)
    return figures


def measure(
    net: CandidateNet, alone: CandidateNet, sets: dict[str, CandidateSets], long: CandidateSets
) -> dict[str, object]:
    """Every figure of docs/tiny-dancer.md, on sets that nothing was learned from."""
    test = sets["test"]
    found = confidences(net, test)
    lead, labels = leading(found, test)
    by_itself = confidences(alone, test.alone())
    rate = sets["train"].labels.sum() / sets["train"].mask.sum()
    rows = {
        "network": fit_of(found, test),
        "network, each candidate alone": fit_of(by_itself, test.alone()),
        "logistic regression": fit_of(linear(sets["train"], test), test),
        "base rate": fit_of(np.full(test.mask.shape, rate), test),
        "the world's own truth": fit_of(test.truth, test),
        "network, leading candidate": fit_to(lead, labels),
        f"network, sets of up to {LONG}": fit_of(confidences(net, long), long),
    }
    figures: dict[str, object] = {name: _rounded(fit) for name, fit in rows.items()}
    figures["weighted sum"] = {"auc": round(fit_of(weighted_sum(test), test).auc, 3)}
    figures["defaults"] = _rounded(trust_of(lead, labels, net.held_out))
    return figures


def _rounded(value: msgspec.Struct) -> dict[str, float]:
    return {name: round(number, 3) for name, number in msgspec.structs.asdict(value).items()}


def _say(epoch: int, loss: float) -> None:
    click.echo(f"epoch {epoch + 1:2}  held-out loss {loss:.4f}", err=True)


def main() -> None:
    """Write the shipped file, or the one named."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else shipped()
    click.echo(json.dumps(make(target), indent=2))


if __name__ == "__main__":
    main()
