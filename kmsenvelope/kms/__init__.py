"""Key management services and the keys that they hold."""
