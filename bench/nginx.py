"""nginx's mail proxy, the reference: as Debian ships it, with its defaults, in a directory and on a port of its own."""

import shutil
from pathlib import Path

from bench.canned import HOST

MODULE = Path("/usr/lib/nginx/modules/ngx_mail_module.so")
PACKAGES = "nginx libnginx-mod-mail"

CONFIGURATION = """\
load_module {module};
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{
    worker_connections 8192;
}}
mail {{
    auth_http {host}:{auth_port}/;
    imap_capabilities IMAP4rev1 LITERAL+ IDLE UIDPLUS;
    xclient off;
    proxy_timeout 10m;
    server {{
        listen {host}:{port};
        protocol imap;
    }}
}}
"""


def command(directory: Path, port: int, auth_port: int) -> list[str]:
    """Write the configuration into `directory` and return the command that runs nginx with it in the foreground."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None or not MODULE.exists():
        raise FileNotFoundError(f"nginx's mail proxy is missing: apt-get install {PACKAGES}")
    configuration = directory / "nginx.conf"
    text = CONFIGURATION.format(module=MODULE, directory=directory, host=HOST, port=port, auth_port=auth_port)
    configuration.write_text(text, encoding="utf-8")
    return [program, "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(configuration)]
