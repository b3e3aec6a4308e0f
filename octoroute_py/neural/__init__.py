"""The small network and what makes its numbers trustworthy: calibration, risk control, the choice of a tier."""
