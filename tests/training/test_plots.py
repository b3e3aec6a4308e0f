import sys
from pathlib import Path

import numpy as np
import pytest

from octoroute_py.training.plots import Learned, PlotsMissing, plot_calibration, plot_cost, plot_learning, plot_training
from octoroute_py.training.report import Range, Report
from octoroute_py.training.trainer import Moment

PNG = b"\x89PNG\r\n"
POINTS = [Learned(rows=rows, apgr=Range(0.5 + 0.02 * n, 0.45, 0.7)) for n, rows in enumerate((250, 500, 1000))]

EPOCHS = [
    Moment(done=5, total=10, epoch=1, loss=0.7, validation_loss=0.68, apgr=0.55),
    Moment(done=10, total=10, epoch=2, loss=0.6),
]


def test_each_plot_is_written_in_the_format_its_name_asks_for(report: Report, tmp_path: Path) -> None:
    plot_cost(report, tmp_path / "cost.png")
    plot_calibration(report, tmp_path / "calibration.svg")
    plot_learning({"all": POINTS}, tmp_path / "learning.png")
    plot_training(EPOCHS, tmp_path / "epochs.png")
    assert (tmp_path / "epochs.png").read_bytes().startswith(PNG)
    assert (tmp_path / "cost.png").read_bytes().startswith(PNG)
    assert (tmp_path / "learning.png").read_bytes().startswith(PNG)
    drawing = (tmp_path / "calibration.svg").read_text()
    assert "<svg" in drawing


def test_the_cost_plot_shows_the_curve_that_was_measured(report: Report, tmp_path: Path) -> None:
    from matplotlib.image import imread

    plot_cost(report, tmp_path / "measured.png")
    pixels = imread(tmp_path / "measured.png")
    line = np.isclose(pixels[..., :3], np.array([0x0B, 0x6E, 0x8F]) / 255, atol=0.02).all(axis=2)
    assert line.sum() > 500


def test_without_matplotlib_the_message_says_what_to_install(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(PlotsMissing, match=r"pip install 'octoroute-py\[plots\]'"):
        plot_cost(report, tmp_path / "cost.png")
    assert not (tmp_path / "cost.png").exists()
