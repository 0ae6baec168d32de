"""Blob stores: where snapshots rest between a caller and its workers."""

from autocelery._blobs.choose import open_store, store_url_for
from autocelery._blobs.packing import pack, unpack
from autocelery._blobs.protocol import BlobStore

__all__ = ["BlobStore", "open_store", "pack", "store_url_for", "unpack"]
