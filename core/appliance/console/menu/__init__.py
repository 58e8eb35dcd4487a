"""The menu of a machine's console: what is needed there most, by number. `screen` is pure, `menu` reads and acts."""
