"""Bytes <-> packets. Pure functions: no state, no clock. Start with `packet`, which draws the layout."""
