"""What differs between the databases that an import can fill: one file an engine, named as the site file names it."""
