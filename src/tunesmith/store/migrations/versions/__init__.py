"""One file per step of the schema; `down_revision` gives the order."""
