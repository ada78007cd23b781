"""What `maskling inspect` shows of each artefact: lines for a person, and the same facts as plain data."""
