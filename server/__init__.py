"""The gateway: editors speak their protocols to it, it speaks token ids to an engine."""
