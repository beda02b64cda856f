"""The only code that waits, and the only code that talks to the operating system."""
