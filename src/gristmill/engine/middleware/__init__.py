"""Policies around the running of a task, one file each."""
