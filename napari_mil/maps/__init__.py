"""Maps: raw scores per tile and the honest ways to look at them."""
