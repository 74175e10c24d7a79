"""The query store on MongoDB: one MongoDB collection per collection of ours, and one document for the positions of the view."""

from dyff.query.mongo.store import MongoQuery, prepare

__all__ = ["MongoQuery", "prepare"]
