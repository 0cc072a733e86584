"""Floor 3: intervals, paired comparisons and outcome classes. float64, no torch."""
