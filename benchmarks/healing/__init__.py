"""What homeostasis is worth: a simulated plant, faults, controllers that are compared, and what the real loop costs."""
