"""Sample data: generated slides with known lesions, and the scripts that make them."""
