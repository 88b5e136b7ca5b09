"""An object store on loopback that speaks S3: addresses as a user would write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

BUCKET = "bucket"


@contextmanager
def object_store() -> Iterator[tuple[Callable[[str], str], ThreadedMotoServer]]:
    """What makes an address of a path in a bucket, and the server; keys are in the environment."""
    server = ThreadedMotoServer(port=0, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "r"}.items():
            patch.setenv(f"AWS_{name}", value)
        server.start()
        host, port = server.get_host_and_port()
        options = f"scheme=http&endpoint_override={host}:{port}"
        create = f"s3://{BUCKET}?{options}&allow_bucket_creation=true"
        fs.FileSystem.from_uri(create)[0].create_dir(BUCKET)
        try:
            yield (lambda path: f"s3://{BUCKET}/{path}?{options}"), server
        finally:
            server.stop()
