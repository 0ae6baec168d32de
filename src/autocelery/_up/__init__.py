"""``autocelery up``: an app's processes from one table, supervised; or written out for another supervisor."""
