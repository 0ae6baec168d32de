"""The project of the conformance suite; copied for each worker, with a name and a settings.json of its own."""
