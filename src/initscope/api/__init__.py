"""Floor 6: the Python front door. What `initscope.run` and the command line both do, once."""
