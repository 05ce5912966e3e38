"""Serves a package archive over HTTP: archive_server.py ADDRESS FOLDER [PORT]."""

import functools
import http.server
import io
import os
import sys
from typing import BinaryIO


class ArchiveHandler(http.server.SimpleHTTPRequestHandler):
    """One line per request that failed, and none for the others."""

    protocol_version = "HTTP/1.1"

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        # A host can be moved back to an older version set, whose files are older too:
        # answering "not modified" by date would then be a lie.
        del self.headers["If-Modified-Since"]
        return super().send_head()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if str(code)[:1] not in "23":
            super().log_request(code, size)


def main() -> None:
    address, folder = sys.argv[1:3]
    port = int(sys.argv[3]) if len(sys.argv) > 3 else 80
    os.chdir(folder)
    handler = functools.partial(ArchiveHandler, directory=folder)
    http.server.ThreadingHTTPServer((address, port), handler).serve_forever()


if __name__ == "__main__":
    main()
