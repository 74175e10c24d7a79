"""The object store of a cloud: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage. All through obstore.

Only this package knows the vendor's library, and nothing imports this package unless the settings ask for it.
"""

from dyff.objects.cloud.connecting import Connection
from dyff.objects.cloud.store import CloudObjects

__all__ = ["CloudObjects", "Connection"]
