"""Self-improvement: what its detector is worth on labelled series and costs a point, and what its history takes."""
