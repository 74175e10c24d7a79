"""Reads what the exports of entities need (docs/exports.md)."""
