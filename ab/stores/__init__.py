"""Where flags and events are kept."""
