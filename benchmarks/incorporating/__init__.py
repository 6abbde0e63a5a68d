"""What it costs to know the code of a project."""
