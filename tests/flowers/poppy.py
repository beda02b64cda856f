"""A plug-in that must not be imported by those who do not ask for it."""

raise RuntimeError("poppy was imported")
