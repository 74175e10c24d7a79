"""Entities in forms that others have defined: Croissant, Every Eval Ever, W3C PROV (docs/exports.md). Pure."""
