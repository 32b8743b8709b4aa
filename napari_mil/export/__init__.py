"""Export: take the evidence away as files."""
