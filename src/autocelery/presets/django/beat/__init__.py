"""The schedule in Django's own database, as an app of Django's: its tables are migrated, its pages are in the admin."""
