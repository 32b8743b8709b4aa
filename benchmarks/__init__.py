"""One file per claim, each against a named peer or limit in the same run; each prints one JSON line."""
