"""The authorization database on MongoDB: an account is one document, with its tokens and with what the log is to be told."""

from dyff.accounts.mongo.store import MongoAccounts, prepare

__all__ = ["MongoAccounts", "prepare"]
