"""What in an app's settings, code, broker and workers will hurt in production; changes nothing unless asked."""
