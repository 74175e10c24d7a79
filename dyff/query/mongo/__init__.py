"""The query store on MongoDB: a collection for each of ours, and how far the view is in a document of its own."""

from dyff.query.mongo.store import MongoQuery, prepare

__all__ = ["MongoQuery", "prepare"]
