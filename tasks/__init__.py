"""The Prefect tasks: thin shells around the library, and the tracker."""
