"""Between protobuf messages and the SDK's values, a file for each noun: all of the client that knows both."""
