"""The demo's IMAP server, a process of its own: pymap with its demo mailbox in memory, which all connections share.

It listens on a loopback port that the kernel chooses and says which on standard error, in the words of the proxy:
``listening address=127.0.0.1:40001``. (pymap's own command would be told a port, which somebody else might take
meanwhile.)
"""

import asyncio
import os
import sys
from argparse import Namespace

from proxyprotocol.reader import ProxyProtocolReader
from pymap.backend.dict import DictBackend
from pymap.imap import IMAPServer
from pymap_corrected import correct_pymap

HOST_NAME = "imap.example.com"


async def serve(user: str, password: str) -> None:
    """Serve one user's mailbox, without TLS, until the process is ended."""
    options = Namespace(
        host="127.0.0.1", port=0, tls=False, cert=None, key=None, debug=False, proxy_protocol=None, passlib_cfg=None,
        demo_data=True, demo_user=user, demo_password=password,
    )  # fmt: skip
    os.environ["FQDN"] = HOST_NAME  # which pymap would otherwise ask the DNS for at every greeting
    backend, config = await DictBackend.init(options)
    config.apply_context()
    # pymap's connections are made for this reader; with proxy_protocol=None it takes the client as it comes.
    connected = ProxyProtocolReader(config.proxy_protocol).get_callback(IMAPServer(backend.login, config))
    server = await asyncio.start_server(connected, options.host, options.port)
    host, port = server.sockets[0].getsockname()
    print(f"listening address={host}:{port}", file=sys.stderr, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    correct_pymap()
    asyncio.run(serve(user=sys.argv[1], password=sys.argv[2]))
