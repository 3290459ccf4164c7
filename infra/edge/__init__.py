"""What other platforms' devices say as our messages: a library for a gateway at the edge, no part of the cloud (ADR 0017)."""
