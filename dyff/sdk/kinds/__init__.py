"""The client's groups, one file for each kind of entity. Each file defines the group's class and exports it as `GROUP`."""
