"""The dossier of a safety case (ADR 42): what is known of it is gathered, and put together by functions that are pure."""
