"""Between protobuf messages and domain values, a file for each noun: all of the server that knows both."""
