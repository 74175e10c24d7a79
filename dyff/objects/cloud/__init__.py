"""Cloud object stores: S3 and compatible stores, Google Cloud Storage, Azure Blob Storage. All through obstore.

Only this package knows the vendor's library, and it is imported only if the settings require it.
"""

from dyff.objects.cloud.connecting import Connection
from dyff.objects.cloud.store import CloudObjects

__all__ = ["CloudObjects", "Connection"]
