"""Flags, the events that editors report, and statistics that count users."""
