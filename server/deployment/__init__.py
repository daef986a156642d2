"""A coordinator: its folder, the sites it has invited, its programs, runs and what shows them."""
