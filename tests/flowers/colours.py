"""No plug-in: shared by the flowers."""

RED = "red"
