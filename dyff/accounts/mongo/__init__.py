"""The authorization database on MongoDB: an account is one document, including its tokens and its changes for the log."""

from dyff.accounts.mongo.store import MongoAccounts, prepare

__all__ = ["MongoAccounts", "prepare"]
