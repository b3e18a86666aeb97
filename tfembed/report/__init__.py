"""Report: what a study found, on one page that opens without a network, and as logs for TensorBoard.

Reading order: `axes` and `chart` (what is drawn), `plots` (what of a study), `outcome` (what the winner says of
examples) with `confusion`, `calibration`, `errors` and `pictures`, `training` and `repetition` (in words), `overview`
and `verdict` (the parts of the page), `page`, `tensorboard_logs`, `writing` (all of it together).
"""

from tfembed.report.writing import write_report

__all__ = ["write_report"]
