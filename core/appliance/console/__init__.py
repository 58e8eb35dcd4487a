"""The console: the grammar of commands, their texts for people, and the core's own commands."""
