"""Documents: records in, a format-free Document out. One file a form; writers/ turns a Document into a file."""
