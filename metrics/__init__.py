"""Arrays in, numbers out: rates and intervals, calibration, operating points, control charts."""
